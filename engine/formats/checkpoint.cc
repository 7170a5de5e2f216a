// A model folder: which file holds which tensor, and weights as F32, checked while they are still in the cache.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "engine/formats/checkpoint.h"
#include "engine/formats/json.h"

namespace gridquant::formats {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr uint64_t kLargestIndex = 100'000'000;
constexpr JsonLimits kIndexLimits{.depth = 8};
// Elements that are read, widened and checked at a time: input and output stay in the second-level cache.
constexpr size_t kChunk = 64 * 1024;
constexpr size_t kLanes = 16;

constexpr char kSingleName[] = "model.safetensors";
constexpr char kIndexName[] = "model.safetensors.index.json";

bool is_shard_name(const std::string& name) {
  return name.ends_with(".safetensors") && name.find('/') == std::string::npos &&
         name.find("..") == std::string::npos && name.find('\0') == std::string::npos;
}

// tensor -> shard, as the index says.
StatusOr<std::map<std::string, std::string>> read_weight_map(base::Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(const uint64_t size, env.file_size(path));
  if (size > kLargestIndex) {
    return absl::FailedPreconditionError(path + ": " + std::to_string(size) + " bytes are too many for an index");
  }
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, path));
  GQ_ASSIGN_OR_RETURN(const auto index, parse_json_object<nlohmann::json>(text, path, kIndexLimits));
  const auto listed = index.find("weight_map");
  if (listed == index.end() || !listed->is_object()) {
    return absl::FailedPreconditionError(path + ": it has no object \"weight_map\"");
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [name, shard] : listed->items()) {
    if (!shard.is_string() || !is_shard_name(shard.get_ref<const std::string&>())) {
      return absl::FailedPreconditionError(path + ": weight_map gives tensor \"" + name + "\" the file " +
                                           shard.dump() + "; it must be the name of a .safetensors file beside it");
    }
    shard_of[name] = shard.get<std::string>();
  }
  return shard_of;
}

StatusOr<std::shared_ptr<const SafetensorsFile>> open_shard(base::Env& env, const std::string& folder,
                                                            const std::string& name, const std::string& needed_by) {
  auto file = SafetensorsFile::open(env, base::join_path(folder, name));
  if (absl::IsNotFound(file.status())) {
    return absl::NotFoundError(folder + ": the file " + name + ", which " + needed_by +
                               " lists, is missing: get it again");
  }
  if (!file.ok()) return file.status();
  return std::make_shared<const SafetensorsFile>(*std::move(file));
}

Status no_weights(base::Env& env, const std::string& folder) {
  if (!env.exists(folder)) return absl::NotFoundError(folder + ": there is no such folder");
  if (!env.is_folder(folder)) {
    return absl::NotFoundError(folder + ": this is a file; name the model's folder, the one with config.json");
  }
  std::string what = folder + ": neither model.safetensors nor model.safetensors.index.json is there";
  if (env.exists(base::join_path(folder, "pytorch_model.bin")) ||
      env.exists(base::join_path(folder, "pytorch_model.bin.index.json"))) {
    what += "; pytorch_model.bin is not read: save the model again as safetensors";
  }
  return absl::NotFoundError(what);
}

// Some exponent in the block is all ones. No branch inside: the compiler turns the loops into vectors.
bool has_non_finite(std::span<const float> values) {
  const float* data = values.data();
  uint32_t worst[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t exponent = std::bit_cast<uint32_t>(data[i + lane]) & 0x7f800000u;
      worst[lane] |= exponent == 0x7f800000u ? 1u : 0u;
    }
  }
  uint32_t any = 0;
  for (const uint32_t lane : worst) any |= lane;
  for (; i < values.size(); ++i) any |= std::isfinite(data[i]) ? 0u : 1u;
  return any != 0;
}

// The same of bf16 (mask 0x7f80) or fp16 (0x7c00) bit patterns.
bool has_non_finite(std::span<const uint16_t> values, uint16_t mask) {
  uint16_t worst[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) worst[lane] |= (values[i + lane] & mask) == mask ? 1 : 0;
  }
  uint16_t any = 0;
  for (const uint16_t lane : worst) any |= lane;
  for (; i < values.size(); ++i) any |= (values[i] & mask) == mask ? 1 : 0;
  return any != 0;
}

bool has_non_finite(DType dtype, std::span<const std::byte> raw) {
  if (dtype == DType::kF32) return has_non_finite({reinterpret_cast<const float*>(raw.data()), raw.size() / 4});
  return has_non_finite({reinterpret_cast<const uint16_t*>(raw.data()), raw.size() / 2},
                        dtype == DType::kBF16 ? 0x7f80 : 0x7c00);
}

Status non_finite(const std::string& file, const std::string& name, const tensor::Shape& shape, int64_t at) {
  std::string place;
  if (shape.size() > 1) {
    place = " (row " + std::to_string(at / shape.back()) + ", column " + std::to_string(at % shape.back()) + ")";
  }
  return absl::FailedPreconditionError(file + ": tensor \"" + name + "\", element " + std::to_string(at) + place +
                                       " is not a finite number; a weight with NaN or infinity cannot be quantized: "
                                       "get the file again, or repair the model");
}

void widen(DType dtype, std::span<const std::byte> from, std::span<float> to) {
  if (dtype == DType::kBF16) {
    tensor::bf16_to_f32({reinterpret_cast<const tensor::BF16*>(from.data()), to.size()}, to);
  } else {
    tensor::f16_to_f32({reinterpret_cast<const tensor::F16*>(from.data()), to.size()}, to);
  }
}

StatusOr<Tensor> read_checked(const SafetensorsFile& file, const std::string& name, const TensorEntry& entry) {
  Tensor out(DType::kF32, entry.shape);
  const std::span<float> values = out.as<float>();
  const size_t width = tensor::size_of(entry.dtype);
  tensor::Buffer narrow(entry.dtype == DType::kF32 ? 0 : std::min(values.size(), kChunk) * width);
  for (size_t at = 0; at < values.size(); at += kChunk) {
    const std::span<float> part = values.subspan(at, std::min(kChunk, values.size() - at));
    if (entry.dtype == DType::kF32) {
      GQ_RETURN_IF_ERROR(file.read_bytes(entry, at * width, std::as_writable_bytes(part)));
    } else {
      const std::span<std::byte> raw(narrow.data(), part.size() * width);
      GQ_RETURN_IF_ERROR(file.read_bytes(entry, at * width, raw));
      widen(entry.dtype, raw, part);
    }
    if (!has_non_finite(part)) continue;
    const auto bad = std::find_if(part.begin(), part.end(), [](float x) { return !std::isfinite(x); });
    return non_finite(file.path(), name, entry.shape, static_cast<int64_t>(at) + (bad - part.begin()));
  }
  return out;
}

// In its own type.
StatusOr<Tensor> read_narrow(const SafetensorsFile& file, const std::string& name, const TensorEntry& entry) {
  Tensor out(entry.dtype, entry.shape);
  const size_t width = tensor::size_of(entry.dtype);
  for (size_t at = 0; at < out.bytes(); at += kChunk * width) {
    const std::span<std::byte> part = out.raw().subspan(at, std::min(kChunk * width, out.bytes() - at));
    GQ_RETURN_IF_ERROR(file.read_bytes(entry, at, part));
    if (!has_non_finite(entry.dtype, part)) continue;
    return read_checked(file, name, entry).status();  // finds the element
  }
  return out;
}

class FileRows final : public RowReader {
 public:
  FileRows(std::shared_ptr<const SafetensorsFile> file, const TensorEntry& entry)
      : RowReader(entry.dtype, entry.shape), file_(std::move(file)), entry_(entry) {}
  Status read(int64_t begin, int64_t count, std::span<std::byte> to) const override {
    if (begin < 0 || count < 0 || begin > rows() || count > rows() - begin ||
        to.size() != static_cast<size_t>(count) * row_bytes()) {
      return absl::InternalError(file_->path() + ": rows outside of a tensor");
    }
    return file_->read_bytes(entry_, static_cast<uint64_t>(begin) * row_bytes(), to);
  }

 private:
  std::shared_ptr<const SafetensorsFile> file_;
  TensorEntry entry_;
};

}  // namespace

StatusOr<Checkpoint> Checkpoint::open(base::Env& env, const std::string& folder) {
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  const std::string index_path = base::join_path(folder, kIndexName);
  if (env.exists(base::join_path(folder, kSingleName))) {  // what transformers looks for first
    GQ_ASSIGN_OR_RETURN(auto file, open_shard(env, folder, kSingleName, "the folder"));
    for (const auto& [name, entry] : file->header().tensors) checkpoint.where_[name] = {file, entry};
    checkpoint.files_ = {kSingleName};
    return checkpoint;
  }
  if (!env.exists(index_path)) return no_weights(env, folder);
  GQ_ASSIGN_OR_RETURN(const auto shard_of, read_weight_map(env, index_path));
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> shards;
  for (const auto& [name, shard] : shard_of) {
    auto& file = shards[shard];
    if (file == nullptr) {
      GQ_ASSIGN_OR_RETURN(file, open_shard(env, folder, shard, kIndexName));
    }
    const auto entry = file->header().tensors.find(name);
    if (entry == file->header().tensors.end()) {
      return absl::NotFoundError(index_path + ": tensor \"" + name + "\" is said to be in " + shard +
                                 ", but is not there: get both files again");
    }
    checkpoint.where_[name] = {file, entry->second};
  }
  for (const auto& [name, file] : shards) checkpoint.files_.push_back(name);
  return checkpoint;
}

StatusOr<Checkpoint> Checkpoint::open_shards(base::Env& env, const std::string& folder,
                                             const std::vector<std::string>& files) {
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  checkpoint.files_ = files;
  for (const std::string& name : files) {
    GQ_ASSIGN_OR_RETURN(const auto file, open_shard(env, folder, name, "the list of committed shards"));
    for (const auto& [tensor, entry] : file->header().tensors) checkpoint.where_[tensor] = {file, entry};
  }
  return checkpoint;
}

void Checkpoint::split_experts(const ExpertNames& names) {
  std::vector<std::string> fused;
  for (const auto& [name, place] : where_) {
    if (!split_fused_experts(name, place.entry, names).empty()) fused.push_back(name);
  }
  for (const std::string& name : fused) {
    const Place place = where_.at(name);
    where_.erase(name);
    for (auto& [part, entry] : split_fused_experts(name, place.entry, names)) where_[part] = {place.file, entry};
    // "<block>.mlp.experts.down_proj" -> "<block>."
    const std::string block = name.substr(0, name.find(".mlp.experts.") + 1);
    const auto router = where_.find(block + "mlp.gate.weight");
    if (router == where_.end() || names.module == "mlp") continue;
    const Place moved = router->second;
    where_.erase(router);
    where_[block + names.module + ".gate.weight"] = moved;
  }
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(where_.size());
  for (const auto& [name, place] : where_) names.push_back(name);
  return names;
}

const TensorEntry* Checkpoint::find(const std::string& name) const {
  const auto it = where_.find(name);
  return it == where_.end() ? nullptr : &it->second.entry;
}

StatusOr<Tensor> Checkpoint::read(const std::string& name) const {
  const auto it = where_.find(name);
  if (it == where_.end()) return absl::NotFoundError(folder_ + ": the model has no tensor \"" + name + "\"");
  Tensor tensor(it->second.entry.dtype, it->second.entry.shape);
  GQ_RETURN_IF_ERROR(it->second.file->read_bytes(it->second.entry, 0, tensor.raw()));
  return tensor;
}

StatusOr<std::unique_ptr<RowReader>> Checkpoint::rows(const std::string& name) const {
  const auto it = where_.find(name);
  if (it == where_.end()) return absl::NotFoundError(folder_ + ": the model has no tensor \"" + name + "\"");
  return std::make_unique<FileRows>(it->second.file, it->second.entry);
}

Status Checkpoint::check_weight(const std::string& name, const tensor::Shape& shape) const {
  const TensorEntry* entry = find(name);
  if (entry == nullptr) {
    return absl::NotFoundError(folder_ + ": the model has no tensor \"" + name + "\", which its config.json calls for");
  }
  const SafetensorsFile& file = *where_.at(name).file;
  if (entry->dtype != DType::kF32 && entry->dtype != DType::kF16 && entry->dtype != DType::kBF16) {
    return absl::FailedPreconditionError(file.path() + ": tensor \"" + name + "\" is " +
                                         std::string(tensor::name_of(entry->dtype)) +
                                         "; F32, F16 or BF16 is needed: is this model quantized already?");
  }
  if (entry->shape != shape) {
    return absl::FailedPreconditionError(file.path() + ": tensor \"" + name + "\" has the shape " +
                                         tensor::to_string(entry->shape) + "; the model's config.json calls for " +
                                         tensor::to_string(shape));
  }
  return absl::OkStatus();
}

StatusOr<Tensor> Checkpoint::read_f32(const std::string& name, const tensor::Shape& shape) const {
  GQ_RETURN_IF_ERROR(check_weight(name, shape));
  return read_checked(*where_.at(name).file, name, *find(name));
}

StatusOr<Tensor> Checkpoint::read_weight(const std::string& name, const tensor::Shape& shape) const {
  GQ_RETURN_IF_ERROR(check_weight(name, shape));
  return read_narrow(*where_.at(name).file, name, *find(name));
}

uint64_t Checkpoint::total_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [name, place] : where_) bytes += place.entry.bytes;
  return bytes;
}

std::vector<std::string> Checkpoint::files() const {
  return files_;
}

}  // namespace gridquant::formats
