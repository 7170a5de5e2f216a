// Assembles a complete Hugging Face model folder, one shard (usually: one transformer block) at a time, so that a crash
// at any moment loses at most the shard being written, and a folder that is not finished never looks as if it were.
//
//   <folder>/model-00001-of-00032.safetensors ...     the shards
//   <folder>/.gridquant/writer.json                   whose output this is: layout version, key, number of shards
//   <folder>/.gridquant/shard-00001.json ...          one manifest per committed shard: file, bytes, sha256, tensors
//   <folder>/tokenizer*, generation_config.json ...   copied from the source model by finish()
//   <folder>/config.json, quantize_config.json        by finish()
//   <folder>/model.safetensors.index.json             by finish(), last: loaders find no weights before it is there
//
// Why this survives a kill -9, a full disk or a power cut after any system call:
// 1. A shard is written as NAME.tmp, synced, renamed to NAME, and the folder is synced. Then its manifest is written in
//    the same way. So a manifest on disk implies that the shard it names was whole on disk before it.
// 2. A shard that already has a manifest is written again only after that manifest was removed and the removal synced.
//    So a manifest never describes bytes other than those it was made for.
// 3. open() believes a manifest only if it parses, names the expected file, and that file has the recorded size (and,
//    on request, the recorded SHA-256). Anything else is removed and counts as not committed; the caller makes it anew.
// 4. The index is written when all shards, config.json and the copied files are on disk. open() removes the index, and
//    syncs that, before it removes or replaces anything else. So an index implies a complete folder.
// 5. writer.json holds the caller's key (a digest of everything the bytes depend on). Under another key or another
//    number of shards nothing is reused: index, then manifests go, then the new writer.json is written.
// 6. All bytes depend on the inputs alone (no times, no counters), so an interrupted and continued run leaves the same
//    files, byte for byte, as an undisturbed one.
//
// A folder that holds somebody else's model (weights or a config.json, but no .gridquant) is refused, never
// overwritten. Not here: which tensors there are, and what the quantization_config says.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/source.h"

namespace gridquant::formats {

struct CheckpointWriterOptions {
  std::string folder;           // made if absent
  int shard_count = 1;          // 1 .. 99999, final
  std::string key;              // same key: same bytes. Committed shards are reused only under the same key
  bool verify_digests = false;  // open() reads every committed shard and compares its SHA-256, not only its size
};

// The file of shard `index` in a folder of `shard_count` shards.
std::string shard_file_name(int index, int shard_count);

struct FinishOptions {
  // Tokenizer and generation files are copied from here: copies, not links, because a tokenizer that is edited later in
  // one folder must not change in the other.
  std::shared_ptr<const TextFiles> companions;
  std::string config_json;                         // the source's config.json (or an edited one); key order is kept
  std::string quantization_config;                 // JSON object, see gptq_quantization_config; empty: none is written
  std::map<std::string, std::string> extra_files;  // name -> content, e.g. a README.md
};

// One thread at a time.
class CheckpointWriter {
 public:
  static StatusOr<CheckpointWriter> open(base::Env& env, CheckpointWriterOptions options);

  // Indices (from 0) of the shards that are on disk, whole; ascending.
  std::vector<int> committed_shards() const;
  bool is_committed(int index) const { return records_.contains(index); }
  // Where the shard is, or will be.
  std::string shard_path(int index) const;
  // Durable when it returns OK. A tensor name that another shard holds is an error.
  Status commit_shard(int index, std::span<const StreamedTensor> tensors);
  Status commit_shard(int index, std::span<const NamedTensor> tensors);
  // The file `from`, whose digest is `sha256`, becomes the shard: linked, or copied where it cannot be.
  Status adopt_shard(int index, const std::string& from, const std::string& sha256);
  // Requires every shard to be committed. May be repeated.
  Status finish(const FinishOptions& options);
  // True if the folder was complete already when opened, or finish() succeeded.
  bool finished() const { return finished_; }
  // Of all committed shards: bytes of the files.
  uint64_t file_bytes() const;

 private:
  struct Record {
    std::string file;
    uint64_t bytes = 0;
    std::string sha256;
    std::map<std::string, uint64_t> tensors;  // name -> bytes of data
  };

  CheckpointWriter(base::Env& env, CheckpointWriterOptions options) : env_(&env), options_(std::move(options)) {}
  Status claim_folder();
  Status start_over();
  Status load_manifests();
  Status remove_leftovers();
  Status remove_index();
  StatusOr<Record> read_manifest(int index) const;
  Status make_way(int index, const Record& record);
  Status write_manifest(int index, const Record& record);
  Status copy_companions(const TextFiles& texts);
  Status write_configs(const FinishOptions& options);
  std::string index_json() const;
  std::string shard_name(int index) const { return shard_file_name(index, options_.shard_count); }
  std::string in_folder(const std::string& name) const { return base::join_path(options_.folder, name); }
  std::string in_state(const std::string& name) const;

  base::Env* env_;
  CheckpointWriterOptions options_;
  std::map<int, Record> records_;
  bool finished_ = false;
};

}  // namespace gridquant::formats
