// Headers that lie, one lie at a time; then damage everywhere.
#include <random>

#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

using tensor::DType;

// Two tensors: a, F32 [2, 3]; b, U8 [4].
constexpr char kGood[] = R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                         R"("b":{"dtype":"U8","shape":[4],"data_offsets":[24,28]}})";

Status parse(std::string_view header, size_t data_bytes) {
  const std::string file = container(header, std::string(data_bytes, '\0'));
  return parse_safetensors_header(file, file.size(), "m.safetensors").status();
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

void expect_refused(std::string_view what, std::string_view with, const std::vector<std::string>& parts) {
  const Status status = parse(replaced(kGood, what, with), 28);
  expect_message(status, parts);
  expect_message(status, {"m.safetensors: "});
  EXPECT_EQ(exit_code_for(status), ExitCode::kInput) << status;
}

TEST(Header, TellsWhereEverythingIs) {
  const std::string file = container(kGood, std::string(28, '\0'));
  const auto header = parse_safetensors_header(file, file.size(), "m");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->metadata, ::testing::ElementsAre(::testing::Pair("format", "pt")));
  ASSERT_EQ(header->tensors.size(), 2u);
  const TensorEntry& a = header->tensors.at("a");
  EXPECT_EQ(a.dtype, DType::kF32);
  EXPECT_EQ(a.shape, (tensor::Shape{2, 3}));
  EXPECT_EQ(a.begin, file.size() - 28);
  EXPECT_EQ(a.bytes, 24u);
  EXPECT_EQ(header->tensors.at("b").begin, file.size() - 4);
}

TEST(Header, EmptyTensorsAndScalarsAreFine) {
  EXPECT_TRUE(parse(R"({"e":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]},)"
                    R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )",
                    4)
                  .ok());
  EXPECT_TRUE(parse("{}", 0).ok());
}

TEST(Header, LengthIsCheckedAgainstTheFile) {
  expect_message(parse_safetensors_header("", 0, "m").status(), {"m: a file of 0 bytes", "cut short"});
  expect_message(parse_safetensors_header("1234567", 7, "m").status(), {"a file of 7 bytes"});
  const std::string file = container(kGood, "");
  expect_message(parse_safetensors_header(file, file.size() - 1, "m").status(),
                 {"does not fit the file", "get it again"});
  expect_message(parse_safetensors_header(std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8), 8, "m").status(),
                 {"announce a header of 18446744073709551615 bytes"});
  const std::string large = std::string("\x01\xe1\xf5\x05\0\0\0\0", 8);  // 100,000,001
  expect_message(parse_safetensors_header(large, uint64_t{1} << 40, "m").status(), {"more than 100000000"});
  expect_message(parse_safetensors_header("version https://git-lfs.github.com/spec/v1\n", 130, "m").status(),
                 {"Git LFS pointer", "git lfs pull"});
}

TEST(Header, MustBeAFlatObject) {
  expect_message(parse("", 0), {"not a JSON object"});
  expect_message(parse("[]", 0), {"not a JSON object"});
  expect_message(parse("{", 0), {"not valid JSON", "get it again"});
  expect_message(parse("{} x", 0), {"not valid JSON"});
  expect_message(parse(R"({"a":)" + std::string(100'000, '['), 0), {"nested deeper than 3"});
  expect_message(parse(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4), {"nested deeper"});
  expect_refused("\"b\":{", "\"a\":{", {"the key \"a\" appears twice"});
  expect_refused("\"shape\":[4],", "\"shape\":[4],\"shape\":[4],", {"the key \"shape\" appears twice"});
  expect_refused("\"pt\"", "7", {"__metadata__ \"format\" is not a string"});
  expect_refused("{\"format\":\"pt\"}", "3", {"__metadata__ is not an object"});
}

TEST(Header, EntriesHaveExactlyThreeFields) {
  expect_refused("\"shape\":[4],", "", {"tensor \"b\"", "dtype, shape and data_offsets"});
  expect_refused("\"shape\":[4]", "\"shape\":[4],\"x\":1", {"tensor \"b\"", "dtype, shape and data_offsets"});
  expect_refused("\"U8\"", "8", {"tensor \"b\"", "dtype is not a string"});
  expect_refused("\"U8\"", "\"F4\"", {"tensor \"b\"", "dtype F4", "does not know"});
}

TEST(Header, ShapesAreChecked) {
  for (const char* shape : {"[-4]", "[4.0]", "[\"4\"]", "4", "[true]", "[18446744073709551615]", "[1e30]", "null"}) {
    expect_refused("\"shape\":[4]", "\"shape\":" + std::string(shape), {"tensor \"b\"", "not a list of non-negative"});
  }
  expect_refused("[2,3]", "[4611686018427387904,3]", {"tensor \"a\"", "overflows"});
  expect_refused("[2,3]", "[4294967296,4294967296]", {"tensor \"a\"", "overflows"});
  expect_refused("[2,3]", "[2,4]", {"tensor \"a\"", "[2, 4] of F32 needs 32 bytes", "give it 24"});
  expect_refused("[2,3]", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,6]", {"more than 32"});
}

TEST(Header, OffsetsAreChecked) {
  for (const char* offsets : {"[24]", "[24,28,28]", "[-1,3]", "[24.0,28]", "7", "[\"24\",28]"}) {
    expect_refused("[24,28]", offsets, {"tensor \"b\"", "not two non-negative integers"});
  }
  expect_refused("[24,28]", "[28,24]", {"tensor \"b\"", "end before they begin"});
  expect_refused("[24,28]", "[26,30]", {"tensor \"b\"", "ends at byte 30", "holds only 28", "get it again"});
  expect_refused("[24,28]", "[18446744073709551612,18446744073709551615]", {"tensor \"b\"", "holds only 28"});
  expect_refused("[24,28]", "[20,24]", {"overlap"});
  expect_refused("[2,3],\"data_offsets\":[0,24]", "[5],\"data_offsets\":[0,20]", {"4 bytes before it belong to no"});
  expect_message(parse(kGood, 29), {"1 bytes at the end belong to no tensor"});
  expect_message(parse(kGood, 27), {"tensor \"b\"", "cut short"});
}

// Damage that need not be noticed (a flipped bit in a name) must at least be harmless: whatever is accepted can be
// read.
void open_and_read_all(base::Env& env, const std::string& content) {
  put(env, "f.safetensors", content);
  const auto file = SafetensorsFile::open(env, "f.safetensors");
  if (!file.ok()) return;
  for (const auto& [name, entry] : file->header().tensors) {
    EXPECT_TRUE(file->read(name).ok()) << name;
    EXPECT_LE(entry.begin + entry.bytes, content.size());
  }
}

TEST(Damage, TruncationAtEveryByteIsRefused) {
  const auto env = base::make_memory_env();
  const std::string whole = container(kGood, std::string(28, '\1'));
  for (size_t size = 0; size < whole.size(); ++size) {
    put(*env, "f.safetensors", whole.substr(0, size));
    const Status status = SafetensorsFile::open(*env, "f.safetensors").status();
    EXPECT_EQ(exit_code_for(status), ExitCode::kInput) << size << " " << status;
  }
  open_and_read_all(*env, whole);
}

TEST(Damage, EveryBitOfTheHeaderFlipped) {
  const auto env = base::make_memory_env();
  const std::string whole = container(kGood, std::string(28, '\1'));
  for (size_t at = 0; at < whole.size() - 28; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      open_and_read_all(*env, damaged);
    }
  }
}

TEST(Damage, RandomBytesInTheHeader) {
  const auto env = base::make_memory_env();
  const std::string whole = container(kGood, std::string(28, '\1'));
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = whole;
    for (int i = 0; i < 3; ++i)
      damaged[8 + random() % (whole.size() - 36)] = "0123456789[]{}\",:-eE\0\xff"[random() % 23];
    open_and_read_all(*env, damaged);
  }
}

}  // namespace
}  // namespace gridquant::formats
