// Reading one safetensors file.
#include "engine/formats/safetensors.h"

#include <algorithm>
#include <utility>

namespace gridquant::formats {
namespace {

constexpr uint64_t kHeadBytes = 8;

}  // namespace

StatusOr<SafetensorsFile> SafetensorsFile::open(base::Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(std::shared_ptr<const base::RandomAccessFile> file, env.open(path));
  std::string head(std::min(file->size(), kHeadBytes), '\0');
  GQ_RETURN_IF_ERROR(file->read(0, std::as_writable_bytes(std::span(head))));
  GQ_ASSIGN_OR_RETURN(const uint64_t length, safetensors_header_length(head, file->size(), path));
  head.resize(kHeadBytes + length);
  GQ_RETURN_IF_ERROR(file->read(0, std::as_writable_bytes(std::span(head))));
  SafetensorsFile opened;
  GQ_ASSIGN_OR_RETURN(opened.header_, parse_safetensors_header(head, file->size(), path));
  opened.file_ = std::move(file);
  return opened;
}

StatusOr<tensor::Tensor> SafetensorsFile::read(const std::string& name) const {
  const auto it = header_.tensors.find(name);
  if (it == header_.tensors.end()) {
    return absl::NotFoundError(file_->path() + ": there is no tensor \"" + name + "\"");
  }
  tensor::Tensor tensor(it->second.dtype, it->second.shape);
  GQ_RETURN_IF_ERROR(read_bytes(it->second, 0, tensor.raw()));
  return tensor;
}

Status SafetensorsFile::read_bytes(const TensorEntry& entry, uint64_t offset, std::span<std::byte> to) const {
  return file_->read(entry.begin + offset, to);
}

const std::string& SafetensorsFile::path() const {
  return file_->path();
}

}  // namespace gridquant::formats
