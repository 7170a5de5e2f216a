#include "engine/eval/report_charts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/eval/report_facts.h"

namespace gridquant::eval {

using nlohmann::json;

namespace {

struct Axes {
  const char* type = "line";
  bool horizontal = false;
  const char* axis = "";  // what the labels count
  const char* unit = "";  // of the values
};

ChartSpec make_chart(const char* id, const char* title, const Axes& axes, json labels, json datasets) {
  ChartSpec chart;
  chart.id = id;
  chart.title = title;
  chart.wide = std::string_view(axes.type) == "line";
  chart.low = axes.horizontal && labels.size() <= 3;
  chart.spec = {
      {"id", id},          {"type", axes.type},           {"horizontal", axes.horizontal},  {"axis", axes.axis},
      {"unit", axes.unit}, {"labels", std::move(labels)}, {"datasets", std::move(datasets)}};
  return chart;
}

json dataset(const std::string& label, json data) {
  return {{"label", label}, {"data", std::move(data)}};
}

// Null draws a gap.
json value_or_gap(const std::optional<double>& value) {
  return value ? json(*value) : json(nullptr);
}

constexpr int64_t kMaxBlocks = 100'000;  // a page for more would be of no use

std::optional<int64_t> block_of(const json& row) {
  const std::optional<double> block = number(row, "block");
  if (!block || *block < 0 || *block >= kMaxBlocks) return std::nullopt;
  return std::llround(*block);
}

// Lines over blocks, one per name, from (name, block) -> value.
using Series = std::map<std::string, std::map<int64_t, double>>;

ChartSpec lines_over_blocks(const char* id, const char* title, const char* unit, const Series& series,
                            const std::vector<std::string>& order) {
  std::set<int64_t> blocks;
  for (const auto& [name, points] : series) {
    for (const auto& [block, value] : points) blocks.insert(block);
  }
  json labels = json::array();
  for (int64_t block : blocks) labels.push_back(std::to_string(block));
  json datasets = json::array();
  for (const std::string& name : order) {
    const auto& points = series.at(name);
    json data = json::array();
    for (int64_t block : blocks) {
      const auto found = points.find(block);
      data.push_back(found == points.end() ? json(nullptr) : json(found->second));
    }
    datasets.push_back(dataset(language_name(name), std::move(data)));
  }
  return make_chart(id, title, {.axis = "block", .unit = unit}, std::move(labels), std::move(datasets));
}

void add_block_errors(const json& report, std::vector<ChartSpec>& charts) {
  const json* validate = section(report, "validate");
  const json* blocks = validate == nullptr ? nullptr : list(*validate, "blocks");
  if (blocks == nullptr) return;
  Series series;
  for (const json& row : *blocks) {
    const json* errors = section(row, "relative_error");
    const std::optional<int64_t> block = block_of(row);
    if (errors == nullptr || !block) continue;
    for (const auto& [tag, error] : errors->items()) {
      if (const auto value = number(*errors, tag.c_str())) series[tag][*block] = *value * 100;
    }
  }
  if (series.empty()) return;
  std::vector<std::string> order;
  for (const auto& [tag, points] : series) order.push_back(tag);
  charts.push_back(
      lines_over_blocks("block-error", "Error of the hidden states after each block, by language", "%", series, order));
}

}  // namespace

std::string layer_kind(const std::string& tensor) {
  std::string name = tensor;
  if (name.ends_with(".weight")) name.resize(name.size() - 7);
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

std::vector<ChartSpec> quality_charts(const json& report) {
  std::vector<ChartSpec> charts;
  const std::vector<LanguageResult> results = language_results(report);
  json labels = json::array(), before = json::array(), after = json::array(), kl = json::array();
  for (const LanguageResult& r : results) {
    labels.push_back(r.name);
    before.push_back(value_or_gap(r.perplexity_original));
    after.push_back(value_or_gap(r.perplexity_quantized));
    kl.push_back(value_or_gap(r.kl_mean));
  }
  if (!results.empty()) {
    charts.push_back(make_chart("perplexity", "Perplexity before and after", {.type = "bar", .unit = "perplexity"},
                                labels, json::array({dataset("original", before), dataset("quantized", after)})));
    charts.push_back(make_chart("kl", "KL divergence to the original", {.type = "bar", .unit = "nats per token"},
                                labels, json::array({dataset("mean KL", kl)})));
  }
  add_block_errors(report, charts);
  return charts;
}

std::vector<ChartSpec> layer_charts(const json& report) {
  const json* quantize = section(report, "quantize");
  const json* layers = quantize == nullptr ? nullptr : list(*quantize, "layers");
  if (layers == nullptr) return {};
  Series series;
  std::map<std::pair<std::string, int64_t>, double> counts;  // more than one of a kind in a block: experts
  std::vector<std::string> order;                            // as the layers run, not by name
  for (const json& row : *layers) {
    const std::optional<int64_t> block = block_of(row);
    const std::optional<double> error = number(row, "relative_error");
    if (!block || !error) continue;
    const std::string kind = layer_kind(text(row, "tensor"));
    if (!series.contains(kind)) order.push_back(kind);
    series[kind][*block] += *error * 100;
    counts[{kind, *block}] += 1;
  }
  for (auto& [kind, points] : series) {
    for (auto& [block, sum] : points) sum /= counts[{kind, block}];
  }
  if (series.empty()) return {};
  return {lines_over_blocks("layer-error", "Share of each layer's weighted energy lost", "%", series, order)};
}

std::vector<ChartSpec> size_charts(const json& report) {
  const json* quantize = section(report, "quantize");
  if (quantize == nullptr) return {};
  json labels = json::array(), data = json::array();
  const auto add = [&](const char* label, const char* key) {
    if (const auto bytes = number(*quantize, key)) {
      labels.push_back(label);
      data.push_back(*bytes / (1024 * 1024));
    }
  };
  add("original", "original_bytes");
  add("forecast", "forecast_bytes");
  add("quantized", "bytes");
  if (labels.empty()) return {};
  return {make_chart("size", "Size of the weights", {.type = "bar", .horizontal = true, .unit = "MiB"},
                     std::move(labels), json::array({dataset("MiB", std::move(data))}))};
}

std::vector<ChartSpec> time_charts(const json& report) {
  std::vector<ChartSpec> charts;
  const Axes axes{.type = "bar", .horizontal = true, .unit = "seconds"};
  json labels = json::array(), data = json::array();
  if (const json* stages = list(report, "stages")) {
    for (const json& stage : *stages) {
      const auto seconds = number(stage, "seconds");
      if (!seconds) continue;
      labels.push_back(text(stage, "name"));
      data.push_back(*seconds);
    }
  }
  if (!labels.empty()) {
    charts.push_back(
        make_chart("stage-time", "Time of each stage", axes, labels, json::array({dataset("seconds", data)})));
  }
  const json* quantize = section(report, "quantize");
  const json* phases = quantize == nullptr ? nullptr : section(*quantize, "phases");
  if (phases == nullptr) return charts;
  labels = data = json::array();
  for (const auto& [name, seconds] : phases->items()) {
    if (!seconds.is_number()) continue;
    labels.push_back(name);
    data.push_back(seconds);
  }
  if (!labels.empty()) {
    charts.push_back(make_chart("phase-time", "Where quantize spent its time", axes, labels,
                                json::array({dataset("seconds", data)})));
  }
  return charts;
}

}  // namespace gridquant::eval
