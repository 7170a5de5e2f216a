#include "engine/formats/checkpoint_writer.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "engine/base/digest.h"
#include "engine/formats/json.h"

namespace gridquant::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kLayoutVersion = 1;
constexpr int kLargestShardCount = 99'999;  // five digits in the names
constexpr JsonLimits kManifestLimits{.depth = 4};
constexpr char kStateFolder[] = ".gridquant";
constexpr char kWriterFile[] = "writer.json";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr char kQuantizeConfigFile[] = "quantize_config.json";

std::string manifest_name(int index) {
  char name[32];
  std::snprintf(name, sizeof(name), "shard-%05d.json", index + 1);
  return name;
}

// Is this "model-?????-of-?????.safetensors", with or without ".tmp"?
bool is_shard_like(std::string_view name) {
  if (name.ends_with(".tmp")) name.remove_suffix(4);
  return name.starts_with("model-") && name.ends_with(".safetensors") && name.find("-of-") != std::string_view::npos;
}

// The text of a file of ours; nothing if it is absent or not what we write.
StatusOr<json> read_own_json(base::Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, path));
  return parse_json_object<json>(text, path, kManifestLimits);
}

}  // namespace

StatusOr<CheckpointWriter> CheckpointWriter::open(base::Env& env, CheckpointWriterOptions options) {
  if (options.shard_count < 1 || options.shard_count > kLargestShardCount) {
    return absl::InvalidArgumentError(options.folder + ": " + std::to_string(options.shard_count) +
                                      " shards are not between 1 and " + std::to_string(kLargestShardCount));
  }
  CheckpointWriter writer(env, std::move(options));
  GQ_RETURN_IF_ERROR(env.make_folders(writer.options_.folder));
  GQ_RETURN_IF_ERROR(writer.claim_folder());
  GQ_RETURN_IF_ERROR(writer.load_manifests());
  const bool whole = static_cast<int>(writer.records_.size()) == writer.options_.shard_count;
  writer.finished_ = whole && env.exists(writer.in_folder(kIndexFile));
  if (!whole) GQ_RETURN_IF_ERROR(writer.remove_index());
  GQ_RETURN_IF_ERROR(writer.remove_leftovers());
  return writer;
}

std::vector<int> CheckpointWriter::committed_shards() const {
  std::vector<int> indices;
  for (const auto& [index, record] : records_) indices.push_back(index);
  return indices;
}

std::string shard_file_name(int index, int shard_count) {
  char name[64];
  std::snprintf(name, sizeof(name), "model-%05d-of-%05d.safetensors", index + 1, shard_count);
  return name;
}

std::string CheckpointWriter::shard_path(int index) const {
  return in_folder(shard_name(index));
}

std::string CheckpointWriter::in_state(const std::string& name) const {
  return base::join_path(in_folder(kStateFolder), name);
}

uint64_t CheckpointWriter::file_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [index, record] : records_) bytes += record.bytes;
  return bytes;
}

// Ours already, under the same key; ours under another key; empty; or somebody else's.
Status CheckpointWriter::claim_folder() {
  auto claim = read_own_json(*env_, in_state(kWriterFile));
  if (claim.ok()) {
    const json expected = {{"layout", kLayoutVersion}, {"key", options_.key}, {"shards", options_.shard_count}};
    return *claim == expected ? absl::OkStatus() : start_over();
  }
  if (is_io_trouble(claim.status())) return claim.status();
  if (env_->exists(in_folder(kStateFolder))) return start_over();  // killed before writer.json was there
  GQ_ASSIGN_OR_RETURN(const auto names, env_->list(options_.folder));
  for (const std::string& name : names) {
    if (name == kConfigFile || name.ends_with(".safetensors") || name == kIndexFile) {
      return absl::FailedPreconditionError(options_.folder + ": this folder holds a model already (" + name +
                                           "); it is not overwritten: choose another output folder");
    }
  }
  return start_over();
}

Status CheckpointWriter::start_over() {
  GQ_RETURN_IF_ERROR(remove_index());
  GQ_RETURN_IF_ERROR(env_->make_folders(in_folder(kStateFolder)));
  GQ_RETURN_IF_ERROR(env_->sync_folder(options_.folder));
  GQ_ASSIGN_OR_RETURN(const auto names, env_->list(in_folder(kStateFolder)));
  for (const std::string& name : names) {
    if (name != kWriterFile) GQ_RETURN_IF_ERROR(env_->remove_file(in_state(name)));
  }
  GQ_RETURN_IF_ERROR(env_->sync_folder(in_folder(kStateFolder)));
  ordered_json claim;
  claim["layout"] = kLayoutVersion;
  claim["key"] = options_.key;
  claim["shards"] = options_.shard_count;
  return base::write_file_atomically(*env_, in_state(kWriterFile), claim.dump() + "\n");
}

Status CheckpointWriter::load_manifests() {
  bool removed = false;
  for (int index = 0; index < options_.shard_count; ++index) {
    const std::string path = in_state(manifest_name(index));
    if (!env_->exists(path)) continue;
    auto record = read_manifest(index);
    if (record.ok()) {
      records_[index] = *std::move(record);
      continue;
    }
    if (is_io_trouble(record.status())) return record.status();
    GQ_RETURN_IF_ERROR(env_->remove_file(path));
    removed = true;
  }
  return removed ? env_->sync_folder(in_folder(kStateFolder)) : absl::OkStatus();
}

StatusOr<CheckpointWriter::Record> CheckpointWriter::read_manifest(int index) const {
  const std::string path = in_state(manifest_name(index));
  GQ_ASSIGN_OR_RETURN(const json manifest, read_own_json(*env_, path));
  const Status damaged = absl::DataLossError(path + " does not describe the shard beside it");
  Record record;
  try {
    record.file = manifest.at("file").get<std::string>();
    record.bytes = manifest.at("bytes").get<uint64_t>();
    record.sha256 = manifest.at("sha256").get<std::string>();
    record.tensors = manifest.at("tensors").get<std::map<std::string, uint64_t>>();
  } catch (const json::exception&) {
    return damaged;
  }
  if (record.file != shard_name(index)) return damaged;
  GQ_ASSIGN_OR_RETURN(const uint64_t size, env_->file_size(shard_path(index)));
  if (size != record.bytes) return damaged;
  if (options_.verify_digests) {
    GQ_ASSIGN_OR_RETURN(const std::string digest, base::digest_of_file(*env_, shard_path(index)));
    if (digest != record.sha256) return damaged;
  }
  return record;
}

// Half-written files, and shards of another number of shards.
Status CheckpointWriter::remove_leftovers() {
  std::set<std::string> expected;
  for (int index = 0; index < options_.shard_count; ++index) expected.insert(shard_name(index));
  GQ_ASSIGN_OR_RETURN(const auto names, env_->list(options_.folder));
  for (const std::string& name : names) {
    const bool stale_shard = is_shard_like(name) && !expected.contains(name);
    const bool half_written = name.ends_with(".tmp") && !env_->is_folder(in_folder(name));
    if (stale_shard || half_written) GQ_RETURN_IF_ERROR(env_->remove_file(in_folder(name)));
  }
  GQ_ASSIGN_OR_RETURN(const auto states, env_->list(in_folder(kStateFolder)));
  for (const std::string& name : states) {
    if (name.ends_with(".tmp")) GQ_RETURN_IF_ERROR(env_->remove_file(in_state(name)));
  }
  return absl::OkStatus();
}

Status CheckpointWriter::remove_index() {
  finished_ = false;
  if (!env_->exists(in_folder(kIndexFile))) return absl::OkStatus();
  GQ_RETURN_IF_ERROR(env_->remove_file(in_folder(kIndexFile)));
  return env_->sync_folder(options_.folder);
}

Status CheckpointWriter::commit_shard(int index, std::span<const NamedTensor> tensors) {
  std::vector<StreamedTensor> all;
  for (const NamedTensor& tensor : tensors) all.push_back(streamed(tensor));
  return commit_shard(index, all);
}

// Before a shard is written: its tensors are nobody else's, and nothing says any more that it is there.
Status CheckpointWriter::make_way(int index, const Record& record) {
  if (index < 0 || index >= options_.shard_count) {
    return absl::InternalError("shard " + std::to_string(index) + " of " + std::to_string(options_.shard_count));
  }
  for (const auto& [name, bytes] : record.tensors) {
    for (const auto& [other, written] : records_) {
      if (other == index || !written.tensors.contains(name)) continue;
      return absl::InternalError("tensor \"" + name + "\" is in shard " + written.file + " already");
    }
  }
  GQ_RETURN_IF_ERROR(remove_index());
  if (env_->exists(in_state(manifest_name(index)))) {  // it describes other bytes from here on
    records_.erase(index);
    GQ_RETURN_IF_ERROR(env_->remove_file(in_state(manifest_name(index))));
    GQ_RETURN_IF_ERROR(env_->sync_folder(in_folder(kStateFolder)));
  }
  return absl::OkStatus();
}

Status CheckpointWriter::commit_shard(int index, std::span<const StreamedTensor> tensors) {
  Record record;
  record.file = shard_name(index);
  for (const StreamedTensor& tensor : tensors) record.tensors[tensor.name] = tensor.bytes();
  GQ_RETURN_IF_ERROR(make_way(index, record));
  GQ_ASSIGN_OR_RETURN(const WrittenFile written, write_safetensors_file(*env_, shard_path(index), tensors));
  record.bytes = written.bytes;
  record.sha256 = written.sha256;
  GQ_RETURN_IF_ERROR(write_manifest(index, record));
  records_[index] = std::move(record);
  return absl::OkStatus();
}

Status CheckpointWriter::adopt_shard(int index, const std::string& from, const std::string& sha256) {
  Record record;
  record.file = shard_name(index);
  record.sha256 = sha256;
  GQ_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(*env_, from));
  for (const auto& [name, entry] : file.header().tensors) record.tensors[name] = entry.bytes;
  GQ_RETURN_IF_ERROR(make_way(index, record));
  // Not under another name first: a rename between two links of one file does nothing. Half a copy has no manifest.
  GQ_RETURN_IF_ERROR(env_->link_or_copy(from, shard_path(index)));
  GQ_RETURN_IF_ERROR(env_->sync_folder(options_.folder));
  GQ_ASSIGN_OR_RETURN(record.bytes, env_->file_size(shard_path(index)));
  GQ_RETURN_IF_ERROR(write_manifest(index, record));
  records_[index] = std::move(record);
  return absl::OkStatus();
}

Status CheckpointWriter::write_manifest(int index, const Record& record) {
  ordered_json manifest;
  manifest["file"] = record.file;
  manifest["bytes"] = record.bytes;
  manifest["sha256"] = record.sha256;
  manifest["tensors"] = record.tensors;
  return base::write_file_atomically(*env_, in_state(manifest_name(index)), manifest.dump(1) + "\n");
}

Status CheckpointWriter::finish(const FinishOptions& options) {
  for (int index = 0; index < options_.shard_count; ++index) {
    if (!is_committed(index)) return absl::InternalError(shard_name(index) + " was not committed");
  }
  if (options.companions != nullptr) GQ_RETURN_IF_ERROR(copy_companions(*options.companions));
  GQ_RETURN_IF_ERROR(write_configs(options));
  for (const auto& [name, content] : options.extra_files) {
    GQ_RETURN_IF_ERROR(base::write_file_atomically(*env_, in_folder(name), content));
  }
  GQ_RETURN_IF_ERROR(base::write_file_atomically(*env_, in_folder(kIndexFile), index_json()));
  finished_ = true;
  return absl::OkStatus();
}

Status CheckpointWriter::copy_companions(const TextFiles& texts) {
  GQ_ASSIGN_OR_RETURN(const auto names, texts.names());
  for (const std::string& name : names) {
    if (name == kConfigFile) continue;
    GQ_ASSIGN_OR_RETURN(const std::string content, texts.read(name));
    GQ_RETURN_IF_ERROR(base::write_file_atomically(*env_, in_folder(name), content));
  }
  return absl::OkStatus();
}

Status CheckpointWriter::write_configs(const FinishOptions& options) {
  const JsonLimits limits;
  GQ_ASSIGN_OR_RETURN(auto config, parse_json_object<ordered_json>(options.config_json, kConfigFile, limits));
  config.erase("quantization_config");  // so that it stands last, whatever the source had
  if (!options.quantization_config.empty()) {
    GQ_ASSIGN_OR_RETURN(auto quantization,
                        parse_json_object<ordered_json>(options.quantization_config, kQuantizeConfigFile, limits));
    config["quantization_config"] = quantization;
    GQ_RETURN_IF_ERROR(base::write_file_atomically(*env_, in_folder(kQuantizeConfigFile), quantization.dump(2) + "\n"));
  }
  return base::write_file_atomically(*env_, in_folder(kConfigFile), config.dump(2) + "\n");
}

std::string CheckpointWriter::index_json() const {
  uint64_t total = 0;
  std::map<std::string, std::string> weight_map;
  for (const auto& [index, record] : records_) {
    for (const auto& [name, bytes] : record.tensors) {
      total += bytes;
      weight_map[name] = record.file;
    }
  }
  ordered_json content;
  content["metadata"]["total_size"] = total;
  content["weight_map"] = weight_map;
  return content.dump(2) + "\n";
}

}  // namespace gridquant::formats
