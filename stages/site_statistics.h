// Statistics of the inputs of every site, per language: what calibrate measures and plan may use. Sums run over tokens
// in order within a sequence and over sequences in order, so threads do not show in the result.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/safetensors.h"
#include "engine/model/architecture.h"
#include "engine/ops/operand.h"

namespace gridquant::stages {

// Sums over some tokens of one site's input columns.
struct ColumnSums {
  int64_t tokens = 0;
  std::vector<double> square;  // sum of x^2
  std::vector<double> abs;     // sum of |x|
  std::vector<float> max;      // max of |x|

  explicit ColumnSums(int64_t width = 0);
  void clear();
  void add(const ops::Operand& x);      // all rows of x
  void merge(const ColumnSums& other);  // same width
};

// Of one block: [site][language].
using BlockSums = std::vector<std::vector<ColumnSums>>;
BlockSums make_block_sums(const std::vector<model::SiteSpec>& sites, size_t languages);

// Collects all blocks and writes statistics.safetensors ("blocks.3.mlp_input.en.diagonal", ".mean_abs", ".max_abs",
// F32 [width]) and statistics.json (counts, and a few numbers per site).
class StatisticsWriter {
 public:
  StatisticsWriter(std::vector<std::string> languages) : languages_(std::move(languages)) {}
  void add_block(int64_t b, const std::vector<model::SiteSpec>& sites, const BlockSums& sums);
  Status write(base::Env& env, const std::string& folder);

 private:
  std::vector<std::string> languages_;
  std::vector<formats::NamedTensor> tensors_;
  nlohmann::json sites_ = nlohmann::json::array();
};

// Mean of x^2 per column of one site over all languages (weighted with their tokens). Empty if calibrate measured
// nothing (statistics: none).
class StatisticsReader {
 public:
  static StatusOr<StatisticsReader> open(base::Env& env, const std::string& folder);
  bool empty() const { return counts_.is_null(); }
  StatusOr<std::vector<float>> diagonal(int64_t b, const std::string& site) const;

 private:
  std::vector<formats::SafetensorsFile> file_;  // one or none
  nlohmann::json counts_;                       // language -> tokens
};

}  // namespace gridquant::stages
