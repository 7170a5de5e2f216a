// What is refused before a value is built.
#include "engine/formats/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gridquant::formats {
namespace {

using ::testing::HasSubstr;

std::string problem_of(std::string_view text, const JsonLimits& limits = {}) {
  return std::string(check_json(text, "f", limits).message());
}

TEST(Json, AcceptsWhatIsJson) {
  for (const char* text : {"{}", " [1, -2.5e3, true, null, \"x\", {\"a\": {\"a\": 1}}] ", "\"text\"", "7"}) {
    EXPECT_EQ(problem_of(text), "") << text;
  }
}

TEST(Json, RefusesWhatIsNot) {
  for (const char* text : {"", "{", "{\"a\":}", "{\"a\":1,}", "{} {}", "{'a':1}", "nul", "\"\xff\"", "[1e999999]"}) {
    EXPECT_THAT(problem_of(text), HasSubstr("f: not valid JSON")) << text;
  }
}

TEST(Json, RefusesAKeyTwice) {
  EXPECT_THAT(problem_of(R"({"a": 1, "b": {"a": 2}, "a": 3})"), HasSubstr("the key \"a\" appears twice"));
  EXPECT_EQ(problem_of(R"([{"a": 1}, {"a": 2}])"), "");
}

TEST(Json, RefusesDepthAndLength) {
  const JsonLimits limits{.depth = 2, .array_length = 3};
  EXPECT_EQ(problem_of("[[1,2,3],[]]", limits), "");
  EXPECT_THAT(problem_of("[[[]]]", limits), HasSubstr("nested deeper than 2"));
  EXPECT_THAT(problem_of("[1,2,3,4]", limits), HasSubstr("more than 3 entries"));
  EXPECT_THAT(problem_of("[[],[],[],[]]", limits), HasSubstr("more than 3 entries"));
  EXPECT_THAT(problem_of(std::string(1'000'000, '['), limits), HasSubstr("nested deeper"));
}

TEST(Json, TheRootMustBeAnObjectWhereOneIsNeeded) {
  const auto list = parse_json_object<nlohmann::json>("[1]", "f", {});
  EXPECT_EQ(list.status().message(), "f: the JSON value is not an object");
  const auto kept = parse_json_object<nlohmann::ordered_json>(R"({"z": 1, "a": 2})", "f", {});
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->dump(), R"({"z":1,"a":2})");
}

}  // namespace
}  // namespace gridquant::formats
