// The weights of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json lists.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/formats/fused_experts.h"
#include "engine/formats/source.h"

namespace gridquant::formats {

// Opens every shard and checks that each listed tensor is really there. Thread-safe after open.
class Checkpoint final : public TensorSource {
 public:
  static StatusOr<Checkpoint> open(base::Env& env, const std::string& folder);
  // Only these files of a folder that has no index yet: the committed shards of an unfinished checkpoint.
  static StatusOr<Checkpoint> open_shards(base::Env& env, const std::string& folder,
                                          const std::vector<std::string>& files);
  // Fused experts become tensors of their own, under `names`; so does the router beside them.
  void split_experts(const ExpertNames& names);

  const std::string& path() const override { return folder_; }
  std::vector<std::string> names() const override;
  const TensorEntry* find(const std::string& name) const override;
  StatusOr<tensor::Tensor> read(const std::string& name) const override;  // any dtype
  // F32, F16 and BF16 tensors.
  StatusOr<tensor::Tensor> read_f32(const std::string& name, const tensor::Shape& shape) const override;
  StatusOr<tensor::Tensor> read_weight(const std::string& name, const tensor::Shape& shape) const override;
  StatusOr<std::unique_ptr<RowReader>> rows(const std::string& name) const override;  // reads nothing yet
  uint64_t total_bytes() const;                                                       // of all tensors
  std::vector<std::string> files() const;                                             // file names of the shards

 private:
  struct Place {
    std::shared_ptr<const SafetensorsFile> file;
    TensorEntry entry;
  };
  Status check_weight(const std::string& name, const tensor::Shape& shape) const;

  std::string folder_;
  std::map<std::string, Place> where_;
  std::vector<std::string> files_;
};

}  // namespace gridquant::formats
