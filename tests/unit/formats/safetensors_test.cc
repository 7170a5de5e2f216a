// The writer's bytes are those of the safetensors library (0.8.0: the strings below were printed by it), and come back.
#include <algorithm>

#include "engine/base/digest.h"
#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

using tensor::DType;
using namespace std::string_literals;

std::vector<NamedTensor> three_tensors() {
  std::vector<NamedTensor> tensors;
  tensors.push_back(named<uint8_t>("c", DType::kU8, {3}, {0, 0, 0}));
  tensors.push_back(named<int32_t>("a", DType::kI32, {3}, {1, 2, 3}));
  tensors.push_back(named<float>("b", DType::kF32, {2, 3}, {0, 1, 2, 3, 4, 5}));
  return tensors;
}

const std::string& three_tensors_golden() {
  static const std::string golden =
      "\xc8\0\0\0\0\0\0\0"s
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("a":{"dtype":"I32","shape":[3],"data_offsets":[24,36]},)"
      R"("c":{"dtype":"U8","shape":[3],"data_offsets":[36,39]}}   )"
      "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40\1\0\0\0\2\0\0\0\3\0\0\0\0\0\0"s;
  return golden;
}

TEST(Writer, GivesTheLibrarysBytes) {
  const auto env = base::make_memory_env();
  const auto tensors = three_tensors();
  std::vector<StreamedTensor> streams;
  for (const NamedTensor& tensor : tensors) streams.push_back(streamed(tensor));
  const auto written = write_safetensors_file(*env, "f", streams);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(get(*env, "f"), three_tensors_golden());
  EXPECT_EQ(written->bytes, three_tensors_golden().size());
  EXPECT_EQ(written->sha256, base::digest_of(three_tensors_golden()));
  EXPECT_THAT(env->list(".").value(), ::testing::ElementsAre("f"));
}

TEST(Writer, ScalarsAndEmptyTensorsToo) {
  const auto env = base::make_memory_env();
  std::vector<NamedTensor> tensors;
  tensors.push_back(named<uint8_t>("z", DType::kU8, {3}, {0, 0, 0}));
  tensors.push_back(named<float>("y", DType::kF32, {0}, {}));
  tensors.push_back(named<float>("w", DType::kF32, {}, {3}));
  ASSERT_TRUE(write_safetensors(*env, "f", tensors).ok());
  EXPECT_EQ(
      get(*env, "f"),
      "\xc0\0\0\0\0\0\0\0"s
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("y":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"z":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}}   )"
      "\0\0\x40\x40\0\0\0"s);
}

TEST(Writer, OrdersDtypesAsTheLibraryDoes) {
  const auto env = base::make_memory_env();
  std::vector<NamedTensor> tensors;
  for (const DType dtype :
       {DType::kBool, DType::kU8, DType::kI8, DType::kF8E5M2, DType::kF8E4M3, DType::kI16, DType::kU16, DType::kF16,
        DType::kBF16, DType::kI32, DType::kU32, DType::kF32, DType::kF64, DType::kI64, DType::kU64}) {
    tensors.push_back({std::string(tensor::name_of(dtype)), tensor::Tensor(dtype, {0})});
  }
  ASSERT_TRUE(write_safetensors(*env, "f", tensors).ok());
  const std::string text = get(*env, "f");
  size_t at = 0;
  for (const char* name : {"U64", "I64", "F64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "F8_E4M3", "F8_E5M2",
                           "I8", "U8", "BOOL"}) {
    const size_t found = text.find("\"" + std::string(name) + "\":{");
    ASSERT_NE(found, std::string::npos) << name;
    EXPECT_GT(found, at) << name;
    at = found;
  }
}

TEST(Writer, EscapesNames) {
  const auto env = base::make_memory_env();
  std::vector<NamedTensor> tensors;
  tensors.push_back(named<float>("a\"b\\/\xc3\xa9\x01\x7f\n", DType::kF32, {1}, {0}));
  ASSERT_TRUE(write_safetensors(*env, "f", tensors).ok());
  const std::string text = get(*env, "f");
  EXPECT_THAT(text, ::testing::HasSubstr("\"a\\\"b\\\\/\xc3\xa9\\u0001\x7f\\n\":{"));
  const auto file = SafetensorsFile::open(*env, "f");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->header().tensors.contains(tensors[0].name));
}

TEST(Writer, RefusesNamesThatCannotBe) {
  const auto env = base::make_memory_env();
  for (const std::string name : {"", "__metadata__", "\xff", "twice"}) {
    std::vector<NamedTensor> tensors;
    tensors.push_back(named<float>(name, DType::kF32, {1}, {0}));
    if (name == "twice") tensors.push_back(named<float>(name, DType::kF32, {1}, {0}));
    EXPECT_TRUE(absl::IsInvalidArgument(write_safetensors(*env, "f", tensors).status())) << name;
  }
  EXPECT_THAT(env->list(".").value(), ::testing::IsEmpty());
}

TEST(Writer, ADiskThatFillsUpLeavesNothing) {
  const auto memory = base::make_memory_env();
  int appends = 0;
  const auto env = base::make_faulty_env(*memory, [&](std::string_view operation, const std::string&) {
    return operation == "append" && ++appends == 3 ? absl::ResourceExhaustedError("no space left on device")
                                                   : absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsResourceExhausted(write_safetensors(*env, "f", three_tensors()).status()));
  EXPECT_THAT(memory->list(".").value(), ::testing::IsEmpty());
}

TEST(Writer, SizeIsKnownBefore) {
  const auto env = base::make_memory_env();
  for (size_t count = 0; count <= 40; ++count) {
    std::vector<NamedTensor> tensors;
    std::vector<std::pair<std::string, TensorEntry>> entries;
    for (size_t i = 0; i < count; ++i) {
      const DType dtype = i % 3 == 0 ? DType::kF16 : i % 3 == 1 ? DType::kI32 : DType::kU8;
      const tensor::Shape shape = {static_cast<int64_t>(i), static_cast<int64_t>(1 + i % 7)};
      const std::string name = "layer." + std::to_string(i * i) + "\"";
      tensors.push_back({name, tensor::Tensor(dtype, shape)});
      std::ranges::fill(tensors.back().tensor.raw(), std::byte{1});
      entries.emplace_back(name, TensorEntry{dtype, shape, 0, 0});
    }
    const auto written = write_safetensors(*env, "f", tensors);
    ASSERT_TRUE(written.ok());
    EXPECT_EQ(safetensors_size(entries), *written);
    EXPECT_EQ(env->file_size("f").value_or(0), *written);
  }
}

TEST(Reader, ReadsWhatWasWritten) {
  const auto env = base::make_memory_env();
  ASSERT_TRUE(write_safetensors(*env, "f", three_tensors()).ok());
  const auto file = SafetensorsFile::open(*env, "f");
  ASSERT_TRUE(file.ok()) << file.status();
  for (const NamedTensor& original : three_tensors()) {
    const auto tensor = file->read(original.name);
    ASSERT_TRUE(tensor.ok());
    EXPECT_EQ(tensor->dtype(), original.tensor.dtype());
    EXPECT_EQ(tensor->shape(), original.tensor.shape());
    EXPECT_TRUE(std::ranges::equal(tensor->raw(), original.tensor.raw()));
  }
  EXPECT_TRUE(absl::IsNotFound(file->read("nothing").status()));
}

TEST(Reader, PassesReadErrorsOn) {
  const auto memory = base::make_memory_env();
  ASSERT_TRUE(write_safetensors(*memory, "f", three_tensors()).ok());
  int left = 2;  // the length, the header
  const auto env = base::make_faulty_env(*memory, [&](std::string_view operation, const std::string&) {
    return operation == "read" && left-- <= 0 ? absl::UnavailableError("disk") : absl::OkStatus();
  });
  const auto file = SafetensorsFile::open(*env, "f");
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(absl::IsUnavailable(file->read("a").status()));
}

}  // namespace
}  // namespace gridquant::formats
