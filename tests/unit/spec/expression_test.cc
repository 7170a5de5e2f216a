// Expressions by themselves: values, errors and their places, bounds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/spec/expression.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

StatusOr<json> value_of(std::string_view text) {
  const ExpressionResult parsed = parse_expression(text);
  if (!parsed.errors.empty()) return absl::InvalidArgumentError(parsed.errors[0].message);
  const json params = {{"bits", 4}, {"rate", 0.5}, {"name", "small"}, {"on", true}, {"none", nullptr}};
  return evaluate(parsed.expression, [&](const std::vector<std::string>& path) -> StatusOr<json> {
    if (path.size() == 2 && path[0] == "params" && params.contains(path[1])) return params[path[1]];
    return absl::InvalidArgumentError("unknown");
  });
}

struct Case {
  const char* text;
  json value;
};

TEST(Expression, HasTheValueOfItsRules) {
  const Case cases[] = {
      {"1", 1},
      {"-1", -1},
      {"0.25", 0.25},
      {"'it''s'", "it's"},
      {"''", ""},
      {"true", true},
      {"null", nullptr},
      {"params.bits", 4},
      {"params.name == 'small'", true},
      {"params.name != 'small'", false},
      {"params.bits == 4.0", true},
      {"params.bits == '4'", false},
      {"params.bits != '4'", true},
      {"2 < 10", true},
      {"'2' < '10'", false},
      {"2 < '10'", false},
      {"2 >= '10'", false},
      {"true < false", false},
      {"4 <= 4", true},
      {"4 > 4", false},
      {"params.rate >= 0.5", true},
      {"-2 < -1", true},
      {"!params.on", false},
      {"!!params.on", true},
      {"!null", true},
      {"params.none == null", true},
      {"params.none && true", false},
      {"params.none || true", true},
      {"true || false && false", true},
      {"(true || false) && false", false},
      {"1 < 2 == true", true},
      {"!(1 == 2)", true},
      {" ( ( params.on ) ) ", true},
      // The right side is not looked at when the left one decides.
      {"false && 5", false},
      {"true || 5", true},
      {"false && unknown.x", false},
  };
  for (const Case& test : cases) {
    const auto value = value_of(test.text);
    ASSERT_TRUE(value.ok()) << test.text << ": " << value.status();
    EXPECT_EQ(*value, test.value) << test.text;
  }
}

TEST(Expression, OfTheWrongTypeIsAnErrorAndNotAGuess) {
  for (const char* text : {"!5", "1 && true", "true && 'x'", "false || 0", "unknown.x"}) {
    EXPECT_EQ(value_of(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Expression, ThatCannotBeReadSaysWhere) {
  struct Wrong {
    const char* text;
    size_t offset;
    const char* message;
  };
  const Wrong cases[] = {
      {"", 0, "empty"},
      {"   ", 0, "empty"},
      {"1 +", 2, "'+'"},
      {"(1", 0, "never closed"},
      {"1)", 1, "not expected"},
      {"a.b = 1", 4, "'='"},
      {"a.b == ", 6, "too early"},
      {"1 == 2 == 3", 7, "not expected"},
      {"'abc", 0, "never closed"},
      {"\"abc\"", 0, "single quotes"},
      {"1 2", 2, "not expected"},
      {"a and b", 2, "'and'"},
      {"&& a", 0, "not expected"},
      {"1.2.3", 0, "no number"},
      {"4bits", 0, "no number"},
      {"a.b & c.d", 4, "'&'"},
      {"가", 0, "'가'"},
  };
  for (const Wrong& test : cases) {
    const ExpressionResult parsed = parse_expression(test.text);
    ASSERT_EQ(parsed.errors.size(), 1u) << test.text;
    EXPECT_EQ(parsed.errors[0].offset, test.offset) << test.text;
    EXPECT_THAT(parsed.errors[0].message, testing::HasSubstr(test.message)) << test.text;
  }
}

TEST(Expression, IsBoundedInDepthAndLength) {
  EXPECT_TRUE(parse_expression(std::string(60, '(') + "1" + std::string(60, ')')).errors.empty());
  EXPECT_FALSE(parse_expression(std::string(65, '(') + "1" + std::string(65, ')')).errors.empty());
  EXPECT_FALSE(parse_expression(std::string(10'000, '!') + "true").errors.empty());
  EXPECT_FALSE(parse_expression(std::string(kMaxExpressionBytes + 1, ' ')).errors.empty());
  std::string chain = "true";
  while (chain.size() + 8 < kMaxExpressionBytes) chain += " && true";
  const ExpressionResult parsed = parse_expression(chain);
  ASSERT_TRUE(parsed.errors.empty());
  EXPECT_EQ(*evaluate(parsed.expression, nullptr), true);
}

TEST(Expression, KeepsItsTextWhenNamesAreReplaced) {
  const std::string text = "params.a==( stages.x-1.state != 'params.a' ) && !params.a";
  const ExpressionResult parsed = parse_expression(text);
  ASSERT_TRUE(parsed.errors.empty());
  const std::string replaced = replace_names(text, parsed.expression, [](const ExpressionNode& node) {
    return node.path[0] == "params" ? std::string("'it''s'") : "stages.y.state";
  });
  EXPECT_EQ(replaced, "'it''s'==( stages.y.state != 'params.a' ) && !'it''s'");
}

std::vector<std::string> parts_of(std::string_view text) {
  std::vector<std::string> parts;
  for (const TemplatePart& part : split_template(text).parts) {
    parts.push_back((part.is_expression ? "$" : "=") + part.text);
  }
  return parts;
}

TEST(Template, IsSplitIntoTextAndExpressions) {
  using testing::ElementsAre;
  EXPECT_THAT(parts_of("plain"), ElementsAre("=plain"));
  EXPECT_THAT(parts_of("${a}"), ElementsAre("$a"));
  EXPECT_THAT(parts_of("x${a}y${ b }"), ElementsAre("=x", "$a", "=y", "$ b "));
  EXPECT_THAT(parts_of("$${a}"), ElementsAre("=${a}"));
  EXPECT_THAT(parts_of("$5 {x} $"), ElementsAre("=$5 {x} $"));
  EXPECT_THAT(parts_of("${'}'}z"), ElementsAre("$'}'", "=z"));
  EXPECT_THAT(parts_of(""), ElementsAre());
  EXPECT_EQ(split_template("ab${c").errors.at(0).offset, 2u);
}

}  // namespace
}  // namespace gridquant::spec
