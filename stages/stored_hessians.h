// Hessians as calibrate stores them (statistics: hessian): X^T X of the unquantized model's inputs for every site, of a
// routed site for every expert. With them a block can be solved without a forward pass, and without its predecessors.
//
//   <artifact>/hessians/block-00003.safetensors   "blocks.3.mlp_input.hessian", of expert 5
//                                                 "blocks.3.mlp_input.5.hessian": F32 [K (K + 1) / 2], the upper
//                                                 triangle row by row
//   <artifact>/hessians.json                      last: how many rows each was summed over, and the tokens' digest
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/device/thread_pool.h"
#include "engine/formats/safetensors.h"
#include "engine/model/site_parts.h"
#include "stages/committed_files.h"
#include "stages/model_source.h"

namespace gridquant::stages {

// One Hessian of a block.
struct HessianPart {
  size_t site = 0;  // index among the block's sites
  model::SitePart part;
  int64_t width = 0;   // K
  std::string tensor;  // its name in the file
};
// All of block `b`, in the order of its file.
std::vector<HessianPart> hessians_of(const ModelSource& source, int64_t b);
// Of the files of all blocks.
uint64_t hessian_file_bytes(const ModelSource& source);

// Block after block, of a block part after part. One thread at a time.
class HessianWriter {
 public:
  // Removes what an earlier attempt left. ResourceExhausted: the disk has no room for all of them.
  static StatusOr<HessianWriter> open(base::Env& env, const std::string& artifact, const ModelSource& source);

  Status begin_block(int64_t b);
  // The next of hessians_of(b), summed over `rows` rows of X. `h` is [K, K]; its upper triangle is looked at.
  Status add(const HessianPart& part, int64_t rows, tensor::Matrix<const float> h);
  Status end_block();
  // After the last block.
  Status finish(const std::string& tokens_digest);

 private:
  HessianWriter(base::Env& env, std::string artifact, const ModelSource& source)
      : env_(&env), artifact_(std::move(artifact)), source_(&source) {}

  base::Env* env_;
  std::string artifact_;
  const ModelSource* source_;
  int64_t block_ = 0;
  std::unique_ptr<formats::SafetensorsStream> stream_;
  tensor::Buffer buffer_;
  nlohmann::json parts_ = nlohmann::json::array();
};

class StoredHessians {
 public:
  // FailedPrecondition: the artifact of calibrate has none. DataLoss: its list is damaged.
  static StatusOr<StoredHessians> open(base::Env& env, const std::string& artifact);

  const std::string& digest() const { return digest_; }  // of the list
  // DataLoss from here on: a file is absent, cut short, of another shape, or not what calibrate committed.
  StatusOr<int64_t> rows(const HessianPart& part) const;
  // [K, K], symmetric.
  StatusOr<tensor::Tensor> read(int64_t b, const HessianPart& part, device::ThreadPool& pool);

 private:
  StoredHessians(base::Env& env, std::string artifact, CommittedFiles committed)
      : env_(&env), artifact_(std::move(artifact)), committed_(std::move(committed)) {}
  Status open_block(int64_t b);

  base::Env* env_;
  std::string artifact_;
  CommittedFiles committed_;
  std::string digest_;
  std::map<std::string, int64_t> rows_;  // by tensor
  int64_t block_ = -1;                   // whose file is open
  bool verified_ = false;                // it
  std::optional<formats::SafetensorsFile> file_;
};

}  // namespace gridquant::stages
