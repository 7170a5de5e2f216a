// Column sums of site inputs, and the files they are kept in. Not here: the walk that produces the inputs.
#include "stages/site_statistics.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

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

template <typename T>
void add_rows(tensor::Matrix<T> x, ColumnSums& to) {
  std::vector<float> square(static_cast<size_t>(x.cols));
  std::vector<float> abs(static_cast<size_t>(x.cols));
  float* __restrict max = to.max.data();
  for (int64_t begin = 0; begin < x.rows; begin += kRowSpan) {
    std::fill(square.begin(), square.end(), 0.0f);
    std::fill(abs.begin(), abs.end(), 0.0f);
    float* __restrict sq = square.data();
    float* __restrict ab = abs.data();
    for (int64_t r = begin; r < std::min(begin + kRowSpan, x.rows); ++r) {
      const T* __restrict row = x.row(r);
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
  to.tokens += x.rows;
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
  if (x.compute == ops::Compute::kBF16) {
    add_rows(x.bf16(), *this);
  } else {
    add_rows(x.f32(), *this);
  }
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
  for (const model::SiteSpec& site : sites) sums.emplace_back(languages, ColumnSums(site.width));
  return sums;
}

void StatisticsWriter::add_block(int64_t b, const std::vector<model::SiteSpec>& sites, const BlockSums& sums) {
  for (size_t s = 0; s < sites.size(); ++s) {
    json languages = json::object();
    for (size_t l = 0; l < languages_.size(); ++l) {
      const ColumnSums& of = sums[s][l];
      const double tokens = static_cast<double>(std::max<int64_t>(1, of.tokens));
      const std::string prefix = prefix_of(b, sites[s].name, languages_[l]);
      tensors_.push_back({prefix + "diagonal", to_tensor(of.square, tokens)});
      tensors_.push_back({prefix + "mean_abs", to_tensor(of.abs, tokens)});
      tensors_.push_back({prefix + "max_abs", to_tensor({of.max.begin(), of.max.end()}, 1)});
      languages[languages_[l]] = overview(of);
    }
    sites_.push_back(
        {{"block", b}, {"site", sites[s].name}, {"width", sites[s].width}, {"languages", std::move(languages)}});
  }
}

Status StatisticsWriter::write(base::Env& env, const std::string& folder) {
  GQ_RETURN_IF_ERROR(formats::write_safetensors(env, base::join_path(folder, kTensors), tensors_).status());
  json counts = json::object();
  for (const json& site : sites_) {
    for (const auto& [language, of] : site.at("languages").items()) counts[language] = of.at("tokens");
  }
  const json info = {{"format", 1}, {"tokens", counts}, {"sites", sites_}};
  return base::write_file_atomically(env, base::join_path(folder, kInfo), info.dump(1) + "\n");
}

StatusOr<StatisticsReader> StatisticsReader::open(base::Env& env, const std::string& folder) {
  StatisticsReader reader;
  const std::string path = base::join_path(folder, kInfo);
  if (!env.exists(path)) return reader;
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, path));
  const json info = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!info.is_object() || !info.contains("tokens") || !info["tokens"].is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": does not describe statistics"));
  }
  reader.counts_ = info["tokens"];
  GQ_ASSIGN_OR_RETURN(formats::SafetensorsFile file,
                      formats::SafetensorsFile::open(env, base::join_path(folder, kTensors)));
  reader.file_.push_back(std::move(file));
  return reader;
}

StatusOr<std::vector<float>> StatisticsReader::diagonal(int64_t b, const std::string& site) const {
  std::vector<double> sums;
  double tokens = 0;
  for (const auto& [language, count] : counts_.items()) {
    GQ_ASSIGN_OR_RETURN(const tensor::Tensor part, file_.front().read(prefix_of(b, site, language) + "diagonal"));
    const double weight = count.get<double>();
    sums.resize(static_cast<size_t>(part.count()));
    const std::span<const float> values = part.as<float>();
    for (size_t c = 0; c < sums.size(); ++c) sums[c] += weight * values[c];
    tokens += weight;
  }
  std::vector<float> mean(sums.size());
  for (size_t c = 0; c < sums.size(); ++c) mean[c] = static_cast<float>(sums[c] / std::max(1.0, tokens));
  return mean;
}

}  // namespace gridquant::stages
