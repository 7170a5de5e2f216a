// Writing one safetensors file, with the bytes that the safetensors library would write.
#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/formats/safetensors.h"

namespace gridquant::formats {
namespace {

using tensor::DType;

constexpr int64_t kStreamBytes = 4 << 20;  // of a tensor that is read and written in pieces

// The library sorts by its own enumeration of dtypes, largest first: wide types first keep every tensor aligned.
int rank_of(DType dtype) {
  static constexpr DType kOrder[] = {DType::kU64,    DType::kI64,    DType::kF64, DType::kF32, DType::kU32,
                                     DType::kI32,    DType::kBF16,   DType::kF16, DType::kU16, DType::kI16,
                                     DType::kF8E4M3, DType::kF8E5M2, DType::kI8,  DType::kU8,  DType::kBool};
  return static_cast<int>(std::find(std::begin(kOrder), std::end(kOrder), dtype) - std::begin(kOrder));
}

struct Item {
  std::string_view name;
  DType dtype;
  const tensor::Shape* shape;
  size_t index;  // where the caller gave it

  uint64_t bytes() const { return static_cast<uint64_t>(tensor::element_count(*shape)) * tensor::size_of(dtype); }
};

void sort_for_file(std::vector<Item>& items) {
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    const int rank_a = rank_of(a.dtype);
    const int rank_b = rank_of(b.dtype);
    return rank_a != rank_b ? rank_a < rank_b : a.name < b.name;
  });
}

// As a JSON string; nothing if it is not UTF-8.
std::optional<std::string> quoted(std::string_view text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

// The 8 bytes of length and the header. Names must be valid.
std::string header_text(const std::vector<Item>& sorted) {
  std::string text = R"({"__metadata__":{"format":"pt"})";
  uint64_t offset = 0;
  for (const Item& item : sorted) {
    text += "," + quoted(item.name).value_or("\"\"") + ":{\"dtype\":\"" + std::string(tensor::name_of(item.dtype)) +
            "\",\"shape\":[";
    for (size_t i = 0; i < item.shape->size(); ++i) {
      text += (i == 0 ? "" : ",") + std::to_string((*item.shape)[i]);
    }
    text += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + item.bytes()) + "]}";
    offset += item.bytes();
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string head;
  for (int i = 0; i < 8; ++i) head += static_cast<char>(uint64_t{text.size()} >> (8 * i) & 0xff);
  return head + text;
}

Status check_names(const std::vector<Item>& items, const std::string& path) {
  std::set<std::string_view> seen;
  for (const Item& item : items) {
    const auto name = quoted(item.name);
    if (!name) return absl::InvalidArgumentError(path + ": a tensor's name is not UTF-8");
    if (item.name.empty() || item.name == "__metadata__") {
      return absl::InvalidArgumentError(path + ": a tensor must not be called " + *name);
    }
    if (!seen.insert(item.name).second) return absl::InvalidArgumentError(path + ": two tensors are called " + *name);
  }
  return absl::OkStatus();
}

StatusOr<uint64_t> write_whole(base::Env& env, const std::string& path, std::span<const StreamedTensor> tensors,
                               base::Digester* digester) {
  std::vector<std::pair<std::string, TensorEntry>> entries;
  for (const StreamedTensor& t : tensors) entries.push_back({t.name, {.dtype = t.dtype, .shape = t.shape}});
  GQ_ASSIGN_OR_RETURN(SafetensorsStream stream, SafetensorsStream::create(env, path, entries, digester));
  for (const size_t index : stream.order()) {
    const uint64_t end = stream.bytes() + tensors[index].bytes();
    GQ_RETURN_IF_ERROR(tensors[index].write([&](std::span<const std::byte> part) { return stream.append(part); }));
    if (stream.bytes() != end) {
      return absl::InternalError(path + ": tensor \"" + tensors[index].name + "\" gave another number of bytes");
    }
  }
  return stream.commit();
}

}  // namespace

StreamedTensor streamed(const NamedTensor& tensor) {
  return {tensor.name, tensor.tensor.dtype(), tensor.tensor.shape(),
          [raw = tensor.tensor.raw()](const StreamedTensor::Append& append) {
            return raw.empty() ? absl::OkStatus() : append(raw);
          }};
}

StreamedTensor streamed(std::string name, std::shared_ptr<const RowReader> rows) {
  const auto write = [rows](const StreamedTensor::Append& append) -> Status {
    const int64_t at_once = std::max<int64_t>(1, kStreamBytes / std::max<int64_t>(1, rows->row_bytes()));
    tensor::Buffer buffer(static_cast<size_t>(std::min(at_once, rows->rows())) * rows->row_bytes());
    for (int64_t begin = 0; begin < rows->rows(); begin += at_once) {
      const int64_t count = std::min(at_once, rows->rows() - begin);
      const std::span<std::byte> part(buffer.data(), static_cast<size_t>(count) * rows->row_bytes());
      GQ_RETURN_IF_ERROR(rows->read(begin, count, part));
      GQ_RETURN_IF_ERROR(append(part));
    }
    return absl::OkStatus();
  };
  return {std::move(name), rows->dtype(), rows->shape(), write};
}

StatusOr<SafetensorsStream> SafetensorsStream::create(base::Env& env, const std::string& path, Entries tensors,
                                                      base::Digester* digester) {
  std::vector<Item> items;
  for (const auto& [name, entry] : tensors) items.push_back({name, entry.dtype, &entry.shape, items.size()});
  GQ_RETURN_IF_ERROR(check_names(items, path));
  sort_for_file(items);
  SafetensorsStream stream(env, path, digester);
  const std::string head = header_text(items);
  stream.end_ = head.size();
  for (const Item& item : items) {
    stream.order_.push_back(item.index);
    stream.end_ += item.bytes();
  }
  GQ_ASSIGN_OR_RETURN(stream.file_, env.create(stream.temporary()));
  GQ_RETURN_IF_ERROR(stream.append(std::as_bytes(std::span(head))));
  return stream;
}

SafetensorsStream::~SafetensorsStream() {
  if (file_ == nullptr) return;
  file_.reset();
  env_->remove_file(temporary()).IgnoreError();  // a full disk gets its bytes back
}

Status SafetensorsStream::append(std::span<const std::byte> data) {
  if (digester_ != nullptr) digester_->update(data);
  bytes_ += data.size();
  return file_->append(data);
}

StatusOr<uint64_t> SafetensorsStream::commit() {
  if (bytes_ != end_) return absl::InternalError(path_ + ": the tensors gave another number of bytes");
  GQ_RETURN_IF_ERROR(file_->sync());
  GQ_RETURN_IF_ERROR(file_->close());
  GQ_RETURN_IF_ERROR(env_->rename(temporary(), path_));
  file_.reset();
  GQ_RETURN_IF_ERROR(env_->sync_folder(base::folder_of(path_)));
  return bytes_;
}

StatusOr<WrittenFile> write_safetensors_file(base::Env& env, const std::string& path,
                                             std::span<const StreamedTensor> tensors) {
  base::Digester digester;
  GQ_ASSIGN_OR_RETURN(const uint64_t bytes, write_whole(env, path, tensors, &digester));
  return WrittenFile{bytes, digester.finish()};
}

StatusOr<uint64_t> write_safetensors(base::Env& env, const std::string& path, std::span<const NamedTensor> tensors) {
  std::vector<StreamedTensor> all;
  for (const NamedTensor& tensor : tensors) all.push_back(streamed(tensor));
  return write_whole(env, path, all, nullptr);
}

uint64_t safetensors_size(std::span<const std::pair<std::string, TensorEntry>> tensors) {
  std::vector<Item> items;
  uint64_t data = 0;
  for (const auto& [name, entry] : tensors) {
    items.push_back({name, entry.dtype, &entry.shape, items.size()});
    data += items.back().bytes();
  }
  sort_for_file(items);
  return header_text(items).size() + data;
}

}  // namespace gridquant::formats
