// Statistics of the inputs of every site, per language: what calibrate measures and plan may use. A routed site has
// statistics per expert, of the tokens that were routed to it. Sums run over tokens in order within a sequence, over
// sequences in order within a row group, and over groups in order: neither threads nor ranks show in the result.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/safetensors.h"
#include "engine/model/architecture.h"
#include "engine/model/site_parts.h"
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
  void add(const ops::Operand& x);                                 // all rows of x
  void add(const ops::Operand& x, std::span<const int32_t> rows);  // those rows, in that order
  void merge(const ColumnSums& other);                             // same width
};

// Of one block: [site][part][language].
using SiteSums = std::vector<std::vector<ColumnSums>>;
using BlockSums = std::vector<SiteSums>;
BlockSums make_block_sums(const std::vector<model::SiteSpec>& sites, size_t languages);

void merge(const BlockSums& from, BlockSums& into);

// Adds one sequence's input x of `site` to the sums of the site's parts, in language 0.
void add_input(const model::SiteSpec& site, const model::SequenceView& sequence, const ops::Operand& x, SiteSums& to);

// Collects all blocks and writes statistics.safetensors ("blocks.3.mlp_input.en.diagonal", of expert 5
// "blocks.3.mlp_input.5.en.diagonal"; ".mean_abs", ".max_abs"; F32 [width]) and statistics.json (counts, and a few
// numbers per site or expert).
class StatisticsWriter {
 public:
  StatisticsWriter(std::vector<std::string> languages) : languages_(std::move(languages)) {}
  void add_block(int64_t b, const std::vector<model::SiteSpec>& sites, const BlockSums& sums);
  Status write(base::Env& env, const std::string& folder);
  // Of every mixture, in order of blocks: {"block", "tokens": {language: [tokens of each expert]}}.
  const nlohmann::json& experts() const { return experts_; }

 private:
  void add_part(int64_t b, const model::SiteSpec& site, const model::SitePart& part,
                const std::vector<ColumnSums>& sums);

  std::vector<std::string> languages_;
  std::vector<formats::NamedTensor> tensors_;
  nlohmann::json sites_ = nlohmann::json::array();
  nlohmann::json experts_ = nlohmann::json::array();
};

// Mean of x^2 per column over all languages (weighted with their tokens), of one part of a site or pooled over all of
// them. Empty if calibrate measured nothing (statistics: none). DataLoss: what is stored is not what was committed.
class StatisticsReader {
 public:
  static StatusOr<StatisticsReader> open(base::Env& env, const std::string& folder);
  bool empty() const { return file_.empty(); }
  StatusOr<int64_t> tokens(int64_t b, const model::SitePart& part) const;
  StatusOr<std::vector<float>> diagonal(int64_t b, std::span<const model::SitePart> parts) const;

 private:
  using Counts = std::map<std::string, int64_t>;  // language -> tokens
  StatusOr<const Counts*> counts(int64_t b, const model::SitePart& part) const;

  std::string folder_;
  std::vector<formats::SafetensorsFile> file_;                // one or none
  std::map<std::pair<int64_t, std::string>, Counts> counts_;  // by block and name of the part
};

}  // namespace gridquant::stages
