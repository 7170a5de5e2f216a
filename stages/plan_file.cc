// plan.json, to and from JSON. Not here: making decisions (plan).
#include "stages/plan_file.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "stages/committed_files.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

constexpr const char* kPlan = "plan.json";
constexpr const char* kExcluded = "excluded by ";
constexpr const char* kRouter = "router";

const char* name_of(quant::ScaleSearch search) {
  return search == quant::ScaleSearch::kAbsMax ? "absmax" : "weighted";
}

json decisions_to_json(const Plan& plan) {
  json tensors = json::array();
  for (const PlannedTensor& t : plan.tensors) {
    json entry = {{"name", t.name}, {"action", t.quantize ? "quantize" : "keep"}, {"block", t.block}};
    if (!t.reason.empty()) entry["reason"] = t.reason;
    if (t.cols > 0) {
      entry["rows"] = t.rows;
      entry["cols"] = t.cols;
    }
    tensors.push_back(std::move(entry));
  }
  return {{"solver", plan.solver},
          {"bits", plan.options.grid.bits},
          {"symmetric", plan.options.grid.symmetric},
          {"group_size", plan.options.grid.group_size},
          {"scale_search", name_of(plan.options.search)},
          {"damp_percent", plan.options.damp_percent},
          {"act_order", plan.options.act_order},
          {"tensors", std::move(tensors)}};
}

Plan plan_from_json(const json& file) {
  Plan plan;
  plan.model = file.at("model").get<std::string>();
  const json& decisions = file.at("decisions");
  plan.solver = decisions.at("solver").get<std::string>();
  plan.options.grid.bits = decisions.at("bits").get<int>();
  plan.options.grid.symmetric = decisions.at("symmetric").get<bool>();
  plan.options.grid.group_size = decisions.at("group_size").get<int64_t>();
  plan.options.search = decisions.at("scale_search").get<std::string>() == "absmax" ? quant::ScaleSearch::kAbsMax
                                                                                    : quant::ScaleSearch::kWeighted;
  plan.options.damp_percent = decisions.at("damp_percent").get<double>();
  plan.options.act_order = decisions.at("act_order").get<bool>();
  for (const json& entry : decisions.at("tensors")) {
    PlannedTensor t;
    t.name = entry.at("name").get<std::string>();
    t.quantize = entry.at("action").get<std::string>() == "quantize";
    t.reason = entry.value("reason", "");
    t.block = entry.at("block").get<int64_t>();
    t.rows = entry.value("rows", int64_t{0});
    t.cols = entry.value("cols", int64_t{0});
    plan.tensors.push_back(std::move(t));
  }
  const json& forecast = file.at("forecast");
  plan.forecast.shard_bytes = forecast.at("shard_bytes").get<std::vector<uint64_t>>();
  plan.forecast.checkpoint_bytes = forecast.at("checkpoint_bytes").get<uint64_t>();
  plan.forecast.original_bytes = forecast.at("original_bytes").get<uint64_t>();
  plan.build_index();
  return plan;
}

}  // namespace

void Plan::build_index() {
  index_.clear();
  for (size_t i = 0; i < tensors.size(); ++i) index_.emplace(tensors[i].name, i);
}

const PlannedTensor* Plan::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors[it->second];
}

int64_t Plan::quantized_count() const {
  return std::count_if(tensors.begin(), tensors.end(), [](const PlannedTensor& t) { return t.quantize; });
}

std::vector<std::string> Plan::excluded_modules() const {
  constexpr std::string_view kSuffix = ".weight";
  std::vector<std::string> modules;
  for (const PlannedTensor& t : tensors) {
    if (!(t.reason.starts_with(kExcluded) || t.reason == kRouter) || !t.name.ends_with(kSuffix)) continue;
    modules.push_back(t.name.substr(0, t.name.size() - kSuffix.size()));
  }
  return modules;
}

Status write_plan(base::Env& env, const std::string& folder, const Plan& plan) {
  const json file = {{"format", 1},
                     {"model", plan.model},
                     {"decisions", decisions_to_json(plan)},
                     {"forecast",
                      {{"shard_bytes", plan.forecast.shard_bytes},
                       {"checkpoint_bytes", plan.forecast.checkpoint_bytes},
                       {"original_bytes", plan.forecast.original_bytes}}}};
  return base::write_file_atomically(env, base::join_path(folder, kPlan), file.dump(1) + "\n");
}

StatusOr<Plan> read_plan(base::Env& env, const std::string& folder) {
  const std::string path = base::join_path(folder, kPlan);
  GQ_ASSIGN_OR_RETURN(const CommittedFiles files, CommittedFiles::open(env, folder));
  GQ_ASSIGN_OR_RETURN(const std::string text, files.read(kPlan));
  try {
    return plan_from_json(json::parse(text));
  } catch (const json::exception& e) {
    return absl::DataLossError(absl::StrCat(path, ": is not a plan: ", e.what()));
  }
}

std::string plan_fingerprint(const Plan& plan) {
  return decisions_to_json(plan).dump();
}

}  // namespace gridquant::stages
