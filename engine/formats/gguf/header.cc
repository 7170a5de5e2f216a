// One pass over the header's bytes. Every length is compared with what is left before anything is made of it.
#include "engine/formats/gguf/header.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"

namespace gridquant::formats {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kLargestRank = 4;
constexpr uint64_t kLargestName = 65'535;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kLargestAlignment = 1 << 20;
constexpr uint64_t kLargestHeader = uint64_t{1} << 28;  // 200 times the vocabulary of a large model
constexpr char kAlignmentKey[] = "general.alignment";

// Types of values, as numbered in the file.
enum ValueType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64, kTypes };
constexpr uint64_t kWidth[kTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

// Takes values off the front; after the first failure every call gives zero. `short_` says that the bytes ended where
// the file may go on.
class Cursor {
 public:
  Cursor(std::string_view bytes, uint64_t file_size, const std::string& path)
      : bytes_(bytes), file_size_(file_size), path_(path) {}

  uint64_t at() const { return at_; }
  bool ok() const { return status_.ok() && !short_; }
  bool is_short() const { return short_; }
  const Status& status() const { return status_; }
  void fail(const std::string& what) {
    if (ok())
      status_ = absl::FailedPreconditionError(absl::StrCat(path_, ": ", what, "; the file is damaged: get it again"));
  }
  void refuse(const std::string& what) {
    if (ok()) status_ = absl::UnimplementedError(absl::StrCat(path_, ": ", what));
  }
  void cut(const std::string& what) {
    if (ok()) status_ = absl::OutOfRangeError(absl::StrCat(path_, ": ", what, "; it was cut short: get it again"));
  }

  // The next `count` bytes, if they are there.
  std::string_view take(uint64_t count) {
    if (!ok()) return {};
    if (count > file_size_ - at_) {
      cut(absl::StrCat("its header goes on past the end of the file of ", file_size_, " bytes"));
      return {};
    }
    if (count > bytes_.size() - at_) {
      short_ = true;
      return {};
    }
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  uint64_t number(uint64_t width) {
    uint64_t value = 0;
    const std::string_view taken = take(width);
    for (size_t i = 0; i < taken.size(); ++i) value |= uint64_t{static_cast<unsigned char>(taken[i])} << (8 * i);
    return value;
  }

  // A count of things of at least `width` bytes each: more than the file can hold is refused here.
  uint64_t count_of(uint64_t width, const std::string& what) {
    const uint64_t count = number(8);
    if (ok() && count > (file_size_ - at_) / width) {
      cut(absl::StrCat(what, " says ", count, ", more than the file of ", file_size_, " bytes can hold"));
    }
    return ok() ? count : 0;
  }

  std::string string(uint64_t largest, const std::string& what) {
    const uint64_t length = count_of(1, absl::StrCat("the length of ", what));
    if (length > largest) fail(absl::StrCat(what, " is ", length, " bytes long"));
    return std::string(take(ok() ? length : 0));
  }

 private:
  std::string_view bytes_;
  uint64_t file_size_;
  const std::string& path_;
  uint64_t at_ = 0;
  Status status_;
  bool short_ = false;
};

double float_of(uint64_t bits, uint32_t type) {
  return type == kF32 ? std::bit_cast<float>(static_cast<uint32_t>(bits)) : std::bit_cast<double>(bits);
}

int64_t signed_of(uint64_t bits, uint32_t type) {
  if (type == kI8) return static_cast<int8_t>(bits);
  if (type == kI16) return static_cast<int16_t>(bits);
  if (type == kI32) return static_cast<int32_t>(bits);
  return static_cast<int64_t>(bits);
}

GgufValue read_array(Cursor& in, const std::string& key) {
  const auto type = static_cast<uint32_t>(in.number(4));
  if (in.ok() && (type >= kTypes || type == kArray)) {
    in.fail(absl::StrCat("key \"", key, "\": an array of elements of type ", type));
  }
  if (!in.ok()) return {};
  const uint64_t count = in.count_of(kWidth[type], absl::StrCat("key \"", key, "\""));
  if (type == kString) {
    std::vector<std::string> strings;
    for (uint64_t i = 0; i < count && in.ok(); ++i) strings.push_back(in.string(kLargestHeader, key));
    return strings;
  }
  if (type == kF32 || type == kF64) {
    std::vector<double> floats;
    for (uint64_t i = 0; i < count && in.ok(); ++i) floats.push_back(float_of(in.number(kWidth[type]), type));
    return floats;
  }
  std::vector<int64_t> integers;
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    integers.push_back(signed_of(in.number(kWidth[type]), type));
    if (type == kU64 && integers.back() < 0) in.fail(absl::StrCat("key \"", key, "\": element ", i, " is over 2^63"));
  }
  return integers;
}

GgufValue read_value(Cursor& in, const std::string& key) {
  const auto type = static_cast<uint32_t>(in.number(4));
  if (in.ok() && type >= kTypes) in.fail(absl::StrCat("key \"", key, "\" has a value of type ", type));
  if (!in.ok()) return {};
  if (type == kArray) return read_array(in, key);
  if (type == kString) return in.string(kLargestHeader, absl::StrCat("key \"", key, "\""));
  const uint64_t bits = in.number(kWidth[type]);
  if (type == kF32 || type == kF64) return float_of(bits, type);
  if (type == kBool) {
    if (bits > 1) in.fail(absl::StrCat("key \"", key, "\" is neither true nor false"));
    return bits == 1;
  }
  const int64_t value = signed_of(bits, type);
  if (type == kU64 && value < 0) return bits;
  return value;
}

std::string quoted(const std::string& name) {
  return absl::StrCat("tensor \"", name, "\"");
}

// Row length in whole blocks, product without overflow.
void measure(Cursor& in, const std::string& name, GgufTensor& tensor) {
  const BlockLayout& layout = layout_of(tensor.type);
  if (tensor.shape.back() % layout.elements != 0) {
    in.fail(absl::StrCat(quoted(name), ": rows of ", tensor.shape.back(), " elements are not whole blocks of ",
                         std::string(layout.name)));
    return;
  }
  int64_t bytes = layout.bytes;
  bool fits = true;
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    const bool row = d + 1 == tensor.shape.size();
    const int64_t factor = row ? tensor.shape[d] / layout.elements : tensor.shape[d];
    fits = fits && !__builtin_mul_overflow(bytes, factor, &bytes);
  }
  if (!fits) in.fail(absl::StrCat(quoted(name), ": shape ", tensor::to_string(tensor.shape), " overflows"));
  tensor.bytes = static_cast<uint64_t>(bytes);
}

// `begin` is still relative to the data.
GgufTensor read_tensor(Cursor& in, const std::string& name) {
  GgufTensor tensor;
  const uint64_t rank = in.number(4);
  if (in.ok() && (rank < 1 || rank > kLargestRank)) in.fail(absl::StrCat(quoted(name), " has ", rank, " dimensions"));
  for (uint64_t d = 0; d < rank && in.ok(); ++d) {
    const uint64_t dim = in.number(8);
    if (in.ok() && (dim < 1 || dim > INT64_MAX)) in.fail(absl::StrCat(quoted(name), " has a dimension of ", dim));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(dim));
  }
  const auto id = static_cast<uint32_t>(in.number(4));
  tensor.begin = in.number(8);
  const auto type = block_type_of(id);
  if (in.ok() && !type) {
    in.refuse(absl::StrCat(quoted(name), " is of ggml type ", id,
                           ", which gridquant does not read; it reads F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and "
                           "Q2_K to Q6_K: take another quantization of this model"));
  }
  if (!in.ok()) return tensor;
  tensor.type = *type;
  measure(in, name, tensor);
  return tensor;
}

uint64_t alignment_of(Cursor& in, const GgufHeader& header) {
  const auto it = header.values.find(kAlignmentKey);
  if (it == header.values.end()) return kDefaultAlignment;
  const int64_t* value = std::get_if<int64_t>(&it->second);
  if (value == nullptr || *value < 1 || *value > static_cast<int64_t>(kLargestAlignment) ||
      !std::has_single_bit(static_cast<uint64_t>(*value))) {
    in.fail(absl::StrCat("key \"", kAlignmentKey, "\" is not a power of two up to ", kLargestAlignment));
    return kDefaultAlignment;
  }
  return static_cast<uint64_t>(*value);
}

void check_magic(Cursor& in) {
  const std::string_view magic = in.take(kMagic.size());
  if (in.ok() && magic != kMagic) in.fail("it does not begin with \"GGUF\": this is no GGUF file");
  const auto version = static_cast<uint32_t>(in.number(4));
  if (!in.ok() || version == 2 || version == 3) return;
  const bool swapped = __builtin_bswap32(version) <= 3 && version != 0;
  in.refuse(swapped ? "it is big-endian; only little-endian GGUF files are read"
                    : absl::StrCat("it is GGUF version ", version, "; versions 2 and 3 are read"));
}

// Makes offsets absolute. Every tensor aligned, inside the file, on bytes of its own.
void place(Cursor& in, GgufHeader& header, uint64_t file_size) {
  const uint64_t alignment = alignment_of(in, header);
  if (!in.ok() || header.tensors.empty()) return;
  const uint64_t data = (in.at() + alignment - 1) / alignment * alignment;
  std::vector<std::pair<GgufTensor*, const std::string*>> order;
  for (auto& [name, tensor] : header.tensors) {
    if (tensor.begin % alignment != 0) {
      in.fail(absl::StrCat(quoted(name), ": its offset ", tensor.begin, " is not a multiple of ", alignment));
      return;
    }
    if (data > file_size || tensor.begin > file_size - data || tensor.bytes > file_size - data - tensor.begin) {
      in.cut(absl::StrCat(quoted(name), ": its ", tensor.bytes, " bytes from byte ", tensor.begin,
                          " of the data on do not lie inside the file of ", file_size, " bytes"));
      return;
    }
    tensor.begin += data;
    order.emplace_back(&tensor, &name);
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first->begin, a.first->bytes) < std::pair(b.first->begin, b.first->bytes);
  });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i].first->begin < order[i - 1].first->begin + order[i - 1].first->bytes) {
      in.fail(absl::StrCat(quoted(*order[i].second), ": its bytes overlap those of ", quoted(*order[i - 1].second)));
    }
  }
}

}  // namespace

StatusOr<std::optional<GgufHeader>> parse_gguf_header(std::string_view head, uint64_t file_size,
                                                      const std::string& path) {
  if (head.starts_with("version ")) {
    return absl::FailedPreconditionError(path + ": this is a Git LFS pointer, not the file: run \"git lfs pull\"");
  }
  Cursor in(head.substr(0, std::min<uint64_t>(head.size(), file_size)), file_size, path);
  GgufHeader header;
  check_magic(in);
  const uint64_t tensors = in.count_of(32, "the number of tensors");
  const uint64_t values = in.count_of(13, "the number of keys");
  for (uint64_t i = 0; i < values && in.ok(); ++i) {
    const std::string key = in.string(kLargestName, "a key's name");
    GgufValue value = read_value(in, key);
    if (in.ok() && !header.values.emplace(key, std::move(value)).second) {
      in.fail(absl::StrCat("the key \"", key, "\" appears twice"));
    }
  }
  for (uint64_t i = 0; i < tensors && in.ok(); ++i) {
    const std::string name = in.string(kLargestName, "a tensor's name");
    GgufTensor tensor = read_tensor(in, name);
    if (in.ok() && !header.tensors.emplace(name, std::move(tensor)).second) {
      in.fail(absl::StrCat(quoted(name), " appears twice"));
    }
  }
  place(in, header, file_size);
  if (in.is_short()) {
    if (head.size() >= kLargestHeader) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": its header is larger than ", kLargestHeader, " bytes"));
    }
    return std::nullopt;
  }
  GQ_RETURN_IF_ERROR(in.status());
  return header;
}

}  // namespace gridquant::formats
