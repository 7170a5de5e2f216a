// A GGUF header that tells the truth, and every way we know in which one may lie.
#include "engine/formats/gguf/header.h"

#include <optional>

#include "tests/unit/formats/gguf_testing.h"

namespace gridquant::formats {
namespace {

GgufParts two_tensors() {
  GgufParts parts;
  parts.keys = {key_text("general.architecture", "llama"), key_u32("llama.block_count", 7)};
  parts.infos = {{"a", {4, 2}, 0, 0}, {"b", {32}, 8, 32}};
  parts.data = std::string(32 + 34, '\1');
  return parts;
}

StatusOr<GgufHeader> parse(const std::string& bytes) {
  GQ_ASSIGN_OR_RETURN(auto header, parse_gguf_header(bytes, bytes.size(), "m.gguf"));
  if (!header) return absl::InternalError("asked for more than the file");
  return *std::move(header);
}

void refused(const GgufParts& parts, const std::vector<std::string>& message) {
  expect_message(parse(gguf_bytes(parts)).status(), message);
}

TEST(GgufHeader, TellsWhatIsThere) {
  for (const uint32_t version : {2u, 3u}) {
    GgufParts parts = two_tensors();
    parts.version = version;
    const auto header = parse(gguf_bytes(parts));
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(std::get<std::string>(header->values.at("general.architecture")), "llama");
    EXPECT_EQ(std::get<int64_t>(header->values.at("llama.block_count")), 7);
    EXPECT_EQ(header->tensors.at("a").shape, (tensor::Shape{2, 4}));
    EXPECT_EQ(header->tensors.at("a").bytes, 32u);
    EXPECT_EQ(header->tensors.at("b").type, BlockType::kQ8_0);
    EXPECT_EQ(header->tensors.at("b").bytes, 34u);
    EXPECT_EQ(header->tensors.at("b").begin, gguf_bytes(parts).size() - 34);
  }
}

TEST(GgufHeader, ReadsEveryTypeOfValue) {
  GgufParts parts;
  const auto value = [](const char* key, uint32_t type, const std::string& bytes) {
    return gguf_string(key) + le(type, 4) + bytes;
  };
  parts.keys = {value("u8", 0, le(200, 1)),
                value("i8", 1, le(0xff, 1)),
                value("u16", 2, le(60000, 2)),
                value("i16", 3, le(0xffff, 2)),
                value("u32", 4, le(4000000000, 4)),
                value("i32", 5, le(0xffffffff, 4)),
                value("bool", 7, le(1, 1)),
                value("u64", 10, le(UINT64_MAX, 8)),
                value("i64", 11, le(UINT64_MAX, 8)),
                value("f64", 12, le(std::bit_cast<uint64_t>(0.5), 8)),
                key_f32("f32", 0.25f),
                value("ints", 9, le(5, 4) + le(2, 8) + le(0xffffffff, 4) + le(3, 4)),
                value("texts", 9, le(8, 4) + le(2, 8) + gguf_string("x") + gguf_string("")),
                value("floats", 9, le(6, 4) + le(1, 8) + le(0x3f800000, 4))};
  const auto header = parse(gguf_bytes(parts));
  ASSERT_TRUE(header.ok()) << header.status();
  const auto& values = header->values;
  EXPECT_EQ(std::get<int64_t>(values.at("u8")), 200);
  EXPECT_EQ(std::get<int64_t>(values.at("i8")), -1);
  EXPECT_EQ(std::get<int64_t>(values.at("u16")), 60000);
  EXPECT_EQ(std::get<int64_t>(values.at("i16")), -1);
  EXPECT_EQ(std::get<int64_t>(values.at("u32")), 4000000000);
  EXPECT_EQ(std::get<int64_t>(values.at("i32")), -1);
  EXPECT_TRUE(std::get<bool>(values.at("bool")));
  EXPECT_EQ(std::get<uint64_t>(values.at("u64")), UINT64_MAX);
  EXPECT_EQ(std::get<int64_t>(values.at("i64")), -1);
  EXPECT_EQ(std::get<double>(values.at("f64")), 0.5);
  EXPECT_EQ(std::get<double>(values.at("f32")), 0.25);
  EXPECT_THAT(std::get<std::vector<int64_t>>(values.at("ints")), ::testing::ElementsAre(-1, 3));
  EXPECT_THAT(std::get<std::vector<std::string>>(values.at("texts")), ::testing::ElementsAre("x", ""));
  EXPECT_THAT(std::get<std::vector<double>>(values.at("floats")), ::testing::ElementsAre(1.0));
}

TEST(GgufHeader, AsksForMoreAndFindsEveryCut) {
  const std::string head = gguf_head(two_tensors());
  const std::string whole = gguf_bytes(two_tensors());
  for (size_t length = 0; length < head.size(); ++length) {
    const auto more = parse_gguf_header(whole.substr(0, length), whole.size(), "m.gguf");
    ASSERT_TRUE(more.ok()) << more.status();
    EXPECT_FALSE(more->has_value()) << length;
  }
  EXPECT_TRUE((*parse_gguf_header(head, whole.size(), "m.gguf")).has_value());
  for (size_t length = 0; length < whole.size(); ++length) {
    const Status cut = parse_gguf_header(whole.substr(0, length), length, "m.gguf").status();
    EXPECT_TRUE(absl::IsOutOfRange(cut)) << length << " " << cut;
    EXPECT_EQ(exit_code_for(cut), exit_code_for(absl::OutOfRangeError("")));
  }
}

TEST(GgufHeader, WrongKindsOfFile) {
  GgufParts parts = two_tensors();
  parts.magic = "GGML";
  refused(parts, {"m.gguf", "no GGUF file"});
  parts = two_tensors();
  for (const uint32_t version : {0u, 1u, 4u}) {
    parts.version = version;
    refused(parts, {"GGUF version " + std::to_string(version), "2 and 3"});
  }
  parts.version = 0x03000000;
  refused(parts, {"big-endian"});
  expect_message(parse("version https://git-lfs").status(), {"Git LFS"});
}

TEST(GgufHeader, CountsAndLengthsNearTheEnd) {
  for (const uint64_t huge :
       {uint64_t{1} << 20, uint64_t{1} << 61, (uint64_t{1} << 63) - 1, uint64_t{1} << 63, UINT64_MAX}) {
    GgufParts parts = two_tensors();
    parts.tensor_count = huge;
    refused(parts, {"number of tensors", std::to_string(huge)});
    parts = two_tensors();
    parts.key_count = huge;
    refused(parts, {"number of keys"});
    parts = two_tensors();
    parts.keys[0] = le(huge, 8) + "x";
    refused(parts, {"m.gguf", "a key's name"});
    parts = two_tensors();
    parts.keys[0] = gguf_string("k") + le(8, 4) + le(huge, 8);
    refused(parts, {"key \"k\""});
    parts = two_tensors();
    parts.keys[0] = gguf_string("k") + le(9, 4) + le(4, 4) + le(huge, 8);
    refused(parts, {"key \"k\""});
    parts = two_tensors();
    parts.infos[0].offset = huge / 32 * 32;
    refused(parts, {"tensor \"a\"", "not lie inside"});
    parts = two_tensors();
    parts.infos[0].dims = {huge, huge};
    refused(parts, {"tensor \"a\""});
    parts.infos[0].dims = {4, huge};
    refused(parts, {"tensor \"a\""});
  }
}

TEST(GgufHeader, MalformedValues) {
  const std::pair<std::string, const char*> cases[] = {
      {le(13, 4), "value of type 13"},
      {le(9, 4) + le(9, 4) + le(1, 8), "elements of type 9"},
      {le(9, 4) + le(99, 4) + le(1, 8), "elements of type 99"},
      {le(7, 4) + le(2, 1), "neither true nor false"},
      {le(9, 4) + le(10, 4) + le(1, 8) + le(UINT64_MAX, 8), "over 2^63"},
  };
  for (const auto& [bytes, message] : cases) {
    GgufParts parts = two_tensors();
    parts.keys[0] = gguf_string("k") + bytes;
    refused(parts, {"key \"k\"", message});
  }
  GgufParts parts = two_tensors();
  parts.keys[1] = parts.keys[0];
  refused(parts, {"\"general.architecture\" appears twice"});
}

TEST(GgufHeader, MalformedTensors) {
  const auto with = [](auto change) {
    GgufParts parts = two_tensors();
    change(parts);
    return parts;
  };
  refused(with([](GgufParts& p) { p.infos[1].name = "a"; }), {"tensor \"a\" appears twice"});
  refused(with([](GgufParts& p) { p.infos[0].dims = {}; }), {"tensor \"a\" has 0 dimensions"});
  refused(with([](GgufParts& p) { p.infos[0].dims = {1, 1, 1, 1, 8}; }), {"tensor \"a\" has 5 dimensions"});
  refused(with([](GgufParts& p) { p.infos[0].dims = {0, 4}; }), {"a dimension of 0"});
  refused(with([](GgufParts& p) { p.infos[1].dims = {33}; }), {"tensor \"b\"", "33", "whole blocks of Q8_0"});
  refused(with([](GgufParts& p) { p.infos[1].type = 16; }), {"tensor \"b\"", "ggml type 16", "Q4_0"});
  refused(with([](GgufParts& p) { p.infos[1].type = 4; }), {"ggml type 4"});
  refused(with([](GgufParts& p) { p.infos[1].offset = 0; }), {"overlap"});
  refused(with([](GgufParts& p) { p.infos[1].offset = 16; }), {"offset 16 is not a multiple of 32"});
  refused(with([](GgufParts& p) { p.data.pop_back(); }), {"tensor \"b\"", "cut short"});
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 31}) {
    refused(with([&](GgufParts& p) { p.keys[1] = key_u32("general.alignment", alignment); }), {"power of two"});
  }
  refused(with([](GgufParts& p) { p.keys[1] = key_text("general.alignment", "32"); }), {"power of two"});
}

TEST(GgufHeader, OtherAlignment) {
  GgufParts parts = two_tensors();
  parts.keys.push_back(key_u32("general.alignment", 64));
  parts.infos[1].offset = 64;
  parts.data = std::string(64 + 34, '\1');
  const auto header = parse(gguf_bytes(parts, 64));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors.at("a").begin % 64, 0u);
}

}  // namespace
}  // namespace gridquant::formats
