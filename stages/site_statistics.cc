// Column sums of site inputs, and the files they are kept in. Not here: the walk that produces the inputs.
#include "stages/site_statistics.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "stages/committed_files.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

constexpr const char* kTensors = "statistics.safetensors";
constexpr const char* kInfo = "statistics.json";
// Rows summed in fp32 before they go into fp64: few enough that nothing is lost, many enough to be fast.
constexpr int64_t kRowSpan = 16;

inline float value_of(float x) {
  return x;
}
inline float value_of(tensor::BF16 x) {
  return tensor::to_float(x);
}

// Rows 0 .. count - 1 of x as `row(r)` numbers them.
template <typename T, typename Row>
void add_rows(tensor::Matrix<T> x, int64_t count, const Row& row_of, ColumnSums& to) {
  std::vector<float> square(static_cast<size_t>(x.cols));
  std::vector<float> abs(static_cast<size_t>(x.cols));
  float* __restrict max = to.max.data();
  for (int64_t begin = 0; begin < count; begin += kRowSpan) {
    std::fill(square.begin(), square.end(), 0.0f);
    std::fill(abs.begin(), abs.end(), 0.0f);
    float* __restrict sq = square.data();
    float* __restrict ab = abs.data();
    for (int64_t r = begin; r < std::min(begin + kRowSpan, count); ++r) {
      const T* __restrict row = x.row(row_of(r));
      for (int64_t c = 0; c < x.cols; ++c) {
        const float v = value_of(row[c]);
        const float a = std::fabs(v);
        sq[c] += v * v;
        ab[c] += a;
        max[c] = a > max[c] ? a : max[c];
      }
    }
    for (int64_t c = 0; c < x.cols; ++c) {
      to.square[c] += sq[c];
      to.abs[c] += ab[c];
    }
  }
  to.tokens += count;
}

template <typename Row>
void add_any(const ops::Operand& x, int64_t count, const Row& row_of, ColumnSums& to) {
  if (x.compute == ops::Compute::kBF16) {
    add_rows(x.bf16(), count, row_of, to);
  } else {
    add_rows(x.f32(), count, row_of, to);
  }
}

tensor::Tensor to_tensor(const std::vector<double>& sums, double divisor) {
  tensor::Tensor t(tensor::DType::kF32, {static_cast<int64_t>(sums.size())});
  const std::span<float> to = t.as<float>();
  for (size_t i = 0; i < sums.size(); ++i) to[i] = static_cast<float>(sums[i] / divisor);
  return t;
}

std::string prefix_of(int64_t b, const std::string& site, const std::string& language) {
  return absl::StrCat("blocks.", b, ".", site, ".", language, ".");
}

// What a person wants to see of a site: how large its inputs are, and how much of their energy sits in few columns.
json overview(const ColumnSums& sums) {
  double total = 0;
  for (const double s : sums.square) total += s;
  std::vector<double> sorted = sums.square;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const size_t top = std::max<size_t>(1, sorted.size() / 100);
  double in_top = 0;
  for (size_t i = 0; i < std::min(top, sorted.size()); ++i) in_top += sorted[i];
  const double values = static_cast<double>(sums.tokens) * static_cast<double>(std::max<size_t>(1, sorted.size()));
  return {{"tokens", sums.tokens},
          {"mean_square", values > 0 ? total / values : 0.0},
          {"max_abs", sums.max.empty() ? 0.0f : *std::max_element(sums.max.begin(), sums.max.end())},
          {"dead_columns", std::count(sums.square.begin(), sums.square.end(), 0.0)},
          {"energy_in_top_percent_of_columns", total > 0 ? in_top / total : 0.0}};
}

}  // namespace

ColumnSums::ColumnSums(int64_t width)
    : square(static_cast<size_t>(width)), abs(static_cast<size_t>(width)), max(static_cast<size_t>(width)) {}

void ColumnSums::clear() {
  tokens = 0;
  std::fill(square.begin(), square.end(), 0.0);
  std::fill(abs.begin(), abs.end(), 0.0);
  std::fill(max.begin(), max.end(), 0.0f);
}

void ColumnSums::add(const ops::Operand& x) {
  add_any(
      x, x.rows, [](int64_t r) { return r; }, *this);
}

void ColumnSums::add(const ops::Operand& x, std::span<const int32_t> rows) {
  add_any(
      x, static_cast<int64_t>(rows.size()), [&](int64_t r) { return rows[static_cast<size_t>(r)]; }, *this);
}

void ColumnSums::merge(const ColumnSums& other) {
  tokens += other.tokens;
  for (size_t c = 0; c < square.size(); ++c) {
    square[c] += other.square[c];
    abs[c] += other.abs[c];
    max[c] = std::max(max[c], other.max[c]);
  }
}

BlockSums make_block_sums(const std::vector<model::SiteSpec>& sites, size_t languages) {
  BlockSums sums;
  for (const model::SiteSpec& site : sites) {
    sums.emplace_back(model::parts_of(site).size(), std::vector<ColumnSums>(languages, ColumnSums(site.width)));
  }
  return sums;
}

void merge(const BlockSums& from, BlockSums& into) {
  for (size_t s = 0; s < into.size(); ++s) {
    for (size_t p = 0; p < into[s].size(); ++p) {
      for (size_t l = 0; l < into[s][p].size(); ++l) into[s][p][l].merge(from[s][p][l]);
    }
  }
}

void add_input(const model::SiteSpec& site, const model::SequenceView& sequence, const ops::Operand& x, SiteSums& to) {
  if (site.experts == 0) return to.front().front().add(x);
  for (int64_t e = 0; e < site.experts; ++e) {
    ColumnSums& sums = to[static_cast<size_t>(e)].front();
    if (site.packed) {
      sums.add(x.row_range(sequence.routing->begin(e), sequence.routing->count(e)));
    } else {
      sums.add(x, sequence.routing->tokens_of(e));
    }
  }
}

void StatisticsWriter::add_part(int64_t b, const model::SiteSpec& site, const model::SitePart& part,
                                const std::vector<ColumnSums>& sums) {
  json languages = json::object();
  for (size_t l = 0; l < languages_.size(); ++l) {
    const ColumnSums& of = sums[l];
    const double tokens = static_cast<double>(std::max<int64_t>(1, of.tokens));
    const std::string prefix = prefix_of(b, part.name, languages_[l]);
    tensors_.push_back({prefix + "diagonal", to_tensor(of.square, tokens)});
    tensors_.push_back({prefix + "mean_abs", to_tensor(of.abs, tokens)});
    tensors_.push_back({prefix + "max_abs", to_tensor({of.max.begin(), of.max.end()}, 1)});
    languages[languages_[l]] = overview(of);
  }
  json entry = {{"block", b}, {"site", part.name}, {"width", site.width}, {"languages", std::move(languages)}};
  if (part.expert >= 0) entry["expert"] = part.expert;
  sites_.push_back(std::move(entry));
}

void StatisticsWriter::add_block(int64_t b, const std::vector<model::SiteSpec>& sites, const BlockSums& sums) {
  bool counted = false;
  for (size_t s = 0; s < sites.size(); ++s) {
    const std::vector<model::SitePart> parts = model::parts_of(sites[s]);
    for (size_t p = 0; p < parts.size(); ++p) add_part(b, sites[s], parts[p], sums[s][p]);
    if (sites[s].experts == 0 || counted) continue;
    counted = true;  // every routed site of a block sees the same tokens
    json tokens = json::object();
    for (size_t l = 0; l < languages_.size(); ++l) {
      for (size_t p = 0; p < parts.size(); ++p) tokens[languages_[l]].push_back(sums[s][p][l].tokens);
    }
    experts_.push_back({{"block", b}, {"tokens", std::move(tokens)}});
  }
}

Status StatisticsWriter::write(base::Env& env, const std::string& folder) {
  GQ_RETURN_IF_ERROR(formats::write_safetensors(env, base::join_path(folder, kTensors), tensors_).status());
  json counts = json::object();
  for (const json& site : sites_) {
    if (site.contains("expert")) continue;
    for (const auto& [language, of] : site.at("languages").items()) counts[language] = of.at("tokens");
  }
  const json info = {{"format", 1}, {"tokens", counts}, {"sites", sites_}};
  return base::write_file_atomically(env, base::join_path(folder, kInfo), info.dump(1) + "\n");
}

StatusOr<StatisticsReader> StatisticsReader::open(base::Env& env, const std::string& folder) {
  StatisticsReader reader;
  reader.folder_ = folder;
  const std::string path = base::join_path(folder, kInfo);
  GQ_ASSIGN_OR_RETURN(const CommittedFiles files, CommittedFiles::open(env, folder));
  if (!files.contains(kInfo)) return reader;
  GQ_ASSIGN_OR_RETURN(const std::string text, files.read(kInfo));
  try {
    const json info = json::parse(text);
    for (const json& site : info.at("sites")) {
      Counts& counts = reader.counts_[{site.at("block").get<int64_t>(), site.at("site").get<std::string>()}];
      for (const auto& [language, of] : site.at("languages").items()) counts[language] = of.at("tokens").get<int64_t>();
    }
  } catch (const json::exception& e) {
    return absl::DataLossError(absl::StrCat(path, ": does not describe statistics: ", e.what()));
  }
  GQ_RETURN_IF_ERROR(files.verify(kTensors));
  GQ_ASSIGN_OR_RETURN(formats::SafetensorsFile file,
                      formats::SafetensorsFile::open(env, base::join_path(folder, kTensors)));
  reader.file_.push_back(std::move(file));
  return reader;
}

StatusOr<const StatisticsReader::Counts*> StatisticsReader::counts(int64_t b, const model::SitePart& part) const {
  const auto found = counts_.find({b, part.name});
  if (found != counts_.end()) return &found->second;
  return absl::DataLossError(absl::StrCat(base::join_path(folder_, kInfo), ": block ", b, " has no site ", part.name));
}

StatusOr<int64_t> StatisticsReader::tokens(int64_t b, const model::SitePart& part) const {
  GQ_ASSIGN_OR_RETURN(const Counts* counts, this->counts(b, part));
  int64_t tokens = 0;
  for (const auto& [language, count] : *counts) tokens += count;
  return tokens;
}

StatusOr<std::vector<float>> StatisticsReader::diagonal(int64_t b, std::span<const model::SitePart> parts) const {
  std::vector<double> sums;
  double tokens = 0;
  for (const model::SitePart& part : parts) {
    GQ_ASSIGN_OR_RETURN(const Counts* counts, this->counts(b, part));
    for (const auto& [language, count] : *counts) {
      GQ_ASSIGN_OR_RETURN(const tensor::Tensor mean,
                          file_.front().read(prefix_of(b, part.name, language) + "diagonal"));
      const double weight = static_cast<double>(count);
      sums.resize(static_cast<size_t>(mean.count()));
      const std::span<const float> values = mean.as<float>();
      for (size_t c = 0; c < sums.size(); ++c) sums[c] += weight * values[c];
      tokens += weight;
    }
  }
  std::vector<float> mean(sums.size());
  for (size_t c = 0; c < sums.size(); ++c) mean[c] = static_cast<float>(sums[c] / std::max(1.0, tokens));
  return mean;
}

}  // namespace gridquant::stages
