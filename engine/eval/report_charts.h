// The plots of a report as data: what to draw, not how. See kReportScript for the reader.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace gridquant::eval {

struct ChartSpec {
  std::string id;
  std::string title;
  bool low = false;     // few bars: needs little height
  bool wide = false;    // lines over blocks: the whole width
  nlohmann::json spec;  // id, type, horizontal, axis, unit, labels, datasets
};

// Each is empty where the report has no numbers for it.
std::vector<ChartSpec> quality_charts(const nlohmann::json& report);  // perplexity and KL per language, error per block
std::vector<ChartSpec> layer_charts(const nlohmann::json& report);    // error per layer, mean over experts
std::vector<ChartSpec> size_charts(const nlohmann::json& report);
std::vector<ChartSpec> time_charts(const nlohmann::json& report);  // per stage, and per phase of quantize

// "model.layers.3.self_attn.q_proj.weight" -> "q_proj": the part of a tensor's name that layers of one kind share.
std::string layer_kind(const std::string& tensor);

}  // namespace gridquant::eval
