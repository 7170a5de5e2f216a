// The header's rules, all checked before the first tensor is read: a lying header must not make us read outside the
// file, allocate more than the file holds, or take one tensor's bytes for another's.
#include <algorithm>
#include <optional>
#include <utility>

#include "engine/formats/json.h"
#include "engine/formats/safetensors.h"

namespace gridquant::formats {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kLargestHeader = 100'000'000;  // the reference implementation's limit
constexpr size_t kLargestRank = 32;
constexpr JsonLimits kHeaderLimits{.depth = 3, .array_length = kLargestRank};

Status malformed(const std::string& path, const std::string& what) {
  return absl::FailedPreconditionError(path + ": " + what + "; the file is damaged: get it again");
}

Status malformed_tensor(const std::string& path, const std::string& name, const std::string& what) {
  return malformed(path, "tensor \"" + name + "\": " + what);
}

uint64_t little_endian_64(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

// Bytes that a tensor of this dtype and shape has; nothing if that does not fit.
std::optional<uint64_t> byte_count(tensor::DType dtype, const tensor::Shape& shape) {
  int64_t bytes = static_cast<int64_t>(tensor::size_of(dtype));
  for (const int64_t dim : shape) {
    if (__builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
  }
  return static_cast<uint64_t>(bytes);
}

std::optional<tensor::Shape> shape_of(const json& value) {
  if (!value.is_array()) return std::nullopt;
  tensor::Shape shape;
  for (const json& dim : value) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > INT64_MAX) return std::nullopt;
    shape.push_back(dim.get<int64_t>());
  }
  return shape;
}

bool are_offsets(const json& value) {
  return value.is_array() && value.size() == 2 && value[0].is_number_unsigned() && value[1].is_number_unsigned();
}

struct Place {
  const std::string& path;
  uint64_t data_begin;  // where offsets count from
  uint64_t data_bytes;
};

StatusOr<TensorEntry> entry_of(const std::string& name, const json& value, const Place& place) {
  const auto bad = [&](const std::string& what) { return malformed_tensor(place.path, name, what); };
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    return bad("its entry does not consist of dtype, shape and data_offsets");
  }
  if (!value["dtype"].is_string()) return bad("dtype is not a string");
  const auto dtype = tensor::parse_dtype(value["dtype"].get_ref<const std::string&>());
  if (!dtype) {
    return absl::FailedPreconditionError(place.path + ": tensor \"" + name + "\" has the dtype " +
                                         value["dtype"].get<std::string>() + ", which gridquant does not know");
  }
  auto shape = shape_of(value["shape"]);
  if (!shape) return bad("shape " + value["shape"].dump() + " is not a list of non-negative integers");
  const auto bytes = byte_count(*dtype, *shape);
  if (!bytes) return bad("shape " + tensor::to_string(*shape) + " overflows");
  const json& offsets = value["data_offsets"];
  if (!are_offsets(offsets)) return bad("data_offsets " + offsets.dump() + " are not two non-negative integers");
  const uint64_t begin = offsets[0].get<uint64_t>();
  const uint64_t end = offsets[1].get<uint64_t>();
  if (begin > end) return bad("data_offsets " + offsets.dump() + " end before they begin");
  if (end > place.data_bytes) {
    return absl::OutOfRangeError(place.path + ": tensor \"" + name + "\" ends at byte " + std::to_string(end) +
                                 " of the data, but the file holds only " + std::to_string(place.data_bytes) +
                                 "; it was cut short: get it again");
  }
  if (end - begin != *bytes) {
    return bad("shape " + tensor::to_string(*shape) + " of " + std::string(tensor::name_of(*dtype)) + " needs " +
               std::to_string(*bytes) + " bytes, but data_offsets give it " + std::to_string(end - begin));
  }
  return TensorEntry{*dtype, std::move(*shape), place.data_begin + begin, *bytes};
}

StatusOr<std::map<std::string, std::string>> metadata_of(const json& value, const std::string& path) {
  if (!value.is_object()) return malformed(path, "__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return malformed(path, "__metadata__ \"" + key + "\" is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// Every byte of the data belongs to exactly one tensor.
Status check_tiling(const SafetensorsHeader& header, const Place& place) {
  std::vector<std::pair<const std::string*, const TensorEntry*>> order;
  for (const auto& [name, entry] : header.tensors) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->bytes) < std::pair(b.second->begin, b.second->bytes);
  });
  uint64_t expected = place.data_begin;
  for (const auto& [name, entry] : order) {
    if (entry->begin < expected) return malformed_tensor(place.path, *name, "its bytes overlap another tensor's");
    if (entry->begin > expected) {
      return malformed_tensor(place.path, *name,
                              std::to_string(entry->begin - expected) + " bytes before it belong to no tensor");
    }
    expected = entry->begin + entry->bytes;
  }
  const uint64_t rest = place.data_begin + place.data_bytes - expected;
  if (rest != 0) return malformed(place.path, std::to_string(rest) + " bytes at the end belong to no tensor");
  return absl::OkStatus();
}

}  // namespace

StatusOr<uint64_t> safetensors_header_length(std::string_view head, uint64_t file_size, const std::string& path) {
  if (head.starts_with("version ")) {
    return absl::FailedPreconditionError(path + ": this is a Git LFS pointer, not the file: run \"git lfs pull\"");
  }
  if (file_size < kLengthBytes || head.size() < kLengthBytes) {
    return absl::OutOfRangeError(path + ": a file of " + std::to_string(file_size) +
                                 " bytes cannot be a safetensors file; it was cut short: get it again");
  }
  const uint64_t length = little_endian_64(head);
  if (length > kLargestHeader) {
    return malformed(path, "its first 8 bytes announce a header of " + std::to_string(length) + " bytes, more than " +
                               std::to_string(kLargestHeader));
  }
  if (length > file_size - kLengthBytes) {
    return absl::OutOfRangeError(path + ": its header of " + std::to_string(length) +
                                 " bytes does not fit the file of " + std::to_string(file_size) +
                                 " bytes; it was cut short: get it again");
  }
  return length;
}

StatusOr<SafetensorsHeader> parse_safetensors_header(std::string_view head, uint64_t file_size,
                                                     const std::string& path) {
  GQ_ASSIGN_OR_RETURN(const uint64_t length, safetensors_header_length(head, file_size, path));
  if (head.size() < kLengthBytes + length) return malformed(path, "its header is not all there");
  const std::string_view text = head.substr(kLengthBytes, length);
  if (!text.starts_with('{')) return malformed(path, "its header is not a JSON object");
  auto parsed = parse_json_object<json>(text, path, kHeaderLimits);
  if (!parsed.ok()) {
    return absl::FailedPreconditionError(std::string(parsed.status().message()) +
                                         " (in the safetensors header); the file is damaged: get it again");
  }
  const Place place{path, kLengthBytes + length, file_size - kLengthBytes - length};
  SafetensorsHeader header;
  for (const auto& [name, value] : parsed->items()) {
    if (name == "__metadata__") {
      GQ_ASSIGN_OR_RETURN(header.metadata, metadata_of(value, path));
      continue;
    }
    GQ_ASSIGN_OR_RETURN(header.tensors[name], entry_of(name, value, place));
  }
  GQ_RETURN_IF_ERROR(check_tiling(header, place));
  return header;
}

}  // namespace gridquant::formats
