// Stage plan: what becomes of every tensor, and how large the result will be. Leaves plan.json. Whatever can be known
// before the work to be impossible is refused here, so that quantize does not fail on it hours later.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/gptq.h"
#include "stages/context.h"
#include "stages/inputs.h"
#include "stages/memory_forecast.h"
#include "stages/name_match.h"
#include "stages/parameters.h"
#include "stages/plan_file.h"
#include "stages/site_statistics.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

constexpr size_t kMaxListed = 10;

quant::SolverOptions solver_options(const json& with) {
  quant::SolverOptions options;
  options.grid.bits = with.at("bits").get<int>();
  options.grid.symmetric = with.at("symmetric").get<bool>();
  options.grid.group_size = with.at("groupSize").get<int64_t>();
  options.search = with.at("scaleSearch").get<std::string>() == "absmax" ? quant::ScaleSearch::kAbsMax
                                                                         : quant::ScaleSearch::kWeighted;
  options.damp_percent = with.at("dampPercent").get<double>();
  options.act_order = with.at("actOrder").get<bool>();
  return options;
}

class Decisions {
 public:
  Decisions(const ModelSource& source, const quant::SolverOptions& options, std::vector<std::string> exclude)
      : source_(source), options_(options), exclude_(std::move(exclude)), matched_(exclude_.size(), false) {}

  StatusOr<std::vector<PlannedTensor>> decide() {
    GQ_ASSIGN_OR_RETURN(matcher_, NameMatcher::compile(exclude_));
    for (const model::TensorSpec& spec : source_.outer()) add(spec, -1);
    for (int64_t b = 0; b < source_.config.block_count; ++b) {
      for (const model::TensorSpec& spec : source_.block(b)) add(spec, b);
    }
    if (!refusals_.empty()) {
      std::string message = absl::StrJoin(refusals_, "; ");
      if (refused_ > refusals_.size()) {
        absl::StrAppend(&message, "; and ", refused_ - refusals_.size(), " more tensors of the same shapes");
      }
      return absl::InvalidArgumentError(message);
    }
    return std::move(tensors_);
  }

  // Expressions that no tensor has.
  std::vector<std::string> unmatched() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < exclude_.size(); ++i) {
      if (!matched_[i]) names.push_back(exclude_[i]);
    }
    return names;
  }

 private:
  void add(const model::TensorSpec& spec, int64_t block) {
    PlannedTensor tensor;
    tensor.name = spec.name;
    tensor.block = block;
    const std::optional<size_t> excluded = matcher_.match(spec.name);
    if (excluded) matched_[*excluded] = true;
    if (spec.role == model::TensorRole::kLinear && block >= 0) {
      tensor.rows = spec.shape[0];
      tensor.cols = spec.shape[1];
      if (excluded) {
        tensor.reason = absl::StrCat("excluded by /", exclude_[*excluded], "/");
      } else if (!spec.name.ends_with(formats::kWeightSuffix)) {
        tensor.reason = "name does not end in .weight";
      } else {
        tensor.quantize = true;
        check(spec);
      }
    } else {
      tensor.reason = reason_of(spec.role);
    }
    tensors_.push_back(std::move(tensor));
  }

  void check(const model::TensorSpec& spec) {
    const Status status = quant::check_grid(options_.grid, spec.shape[0], spec.shape[1], spec.name);
    if (status.ok()) return;
    ++refused_;
    // The same weight of every block has the same shape: one message is enough for all of them.
    if (!shapes_.insert(spec.shape).second || refusals_.size() >= kMaxListed) return;
    refusals_.emplace_back(status.message());
  }

  static const char* reason_of(model::TensorRole role) {
    return role == model::TensorRole::kLinear ? "outside the blocks" : model::name_of(role);
  }

  const ModelSource& source_;
  const quant::SolverOptions& options_;
  std::vector<std::string> exclude_;
  std::vector<bool> matched_;
  NameMatcher matcher_;
  std::vector<PlannedTensor> tensors_;
  std::set<tensor::Shape> shapes_;
  std::vector<std::string> refusals_;
  size_t refused_ = 0;
};

// Loaders that fuse the weights of a site (q/k/v, gate/up) take all of them quantized or none.
std::vector<std::string> partly_excluded_sites(const ModelSource& source, const Plan& plan) {
  std::vector<std::string> sites;
  for (int64_t b = 0; b < source.config.block_count; ++b) {
    for (const model::SiteSpec& site : source.architecture->sites(source.config, b)) {
      const size_t quantized = static_cast<size_t>(std::ranges::count_if(site.weights, [&](const std::string& name) {
        return plan.find(name) != nullptr && plan.find(name)->quantize;
      }));
      if (quantized > 0 && quantized < site.weights.size()) sites.push_back(absl::StrCat("block ", b, " ", site.name));
    }
  }
  return sites;
}

using Entries = std::vector<std::pair<std::string, formats::TensorEntry>>;

void add_entries(const PlannedTensor& planned, const ModelSource& source, const quant::GridSpec& grid,
                 Entries& entries) {
  if (!planned.quantize) {
    entries.emplace_back(planned.name, *source.tensors->find(planned.name));
    return;
  }
  const std::string module = planned.name.substr(0, planned.name.size() - formats::kWeightSuffix.size());
  for (auto& entry : formats::gptq_entries(module, grid, planned.rows, planned.cols)) {
    entries.push_back(std::move(entry));
  }
}

Forecast forecast_sizes(const ModelSource& source, const Plan& plan) {
  std::vector<Entries> shards(static_cast<size_t>(source.config.block_count) + 1);
  Forecast forecast;
  for (const PlannedTensor& planned : plan.tensors) {
    add_entries(planned, source, plan.options.grid, shards[static_cast<size_t>(planned.block + 1)]);
    forecast.original_bytes += source.tensors->find(planned.name)->bytes;
  }
  for (const Entries& entries : shards) {
    forecast.shard_bytes.push_back(formats::safetensors_size(entries));
    forecast.checkpoint_bytes += forecast.shard_bytes.back();
  }
  return forecast;
}

// Room for the result where this artifact is kept: quantize writes beside it.
Status check_disk(StageContext& context, const Forecast& forecast) {
  GQ_ASSIGN_OR_RETURN(const uint64_t available, context.env.free_bytes(context.task.artifact));
  if (available >= forecast.checkpoint_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(context.task.artifact, ": the checkpoint needs ",
                                                   forecast.checkpoint_bytes, " bytes, only ", available, " are free"));
}

// Kept tensors with block numbers folded into "*", so that 30 blocks give one line.
json kept_summary(const Plan& plan) {
  std::set<std::pair<std::string, std::string>> seen;
  json kept = json::array();
  for (const PlannedTensor& t : plan.tensors) {
    if (t.quantize) continue;
    std::string name = t.name;
    const std::string number = absl::StrCat(".", t.block, ".");
    const size_t at = t.block < 0 ? std::string::npos : name.find(number);
    if (at != std::string::npos) name.replace(at, number.size(), ".*.");
    if (seen.emplace(name, t.reason).second) kept.push_back({{"tensor", name}, {"reason", t.reason}});
  }
  return kept;
}

double bits_per_weight(const ModelSource& source, const Plan& plan) {
  double parameters = 0;
  for (const PlannedTensor& t : plan.tensors) {
    parameters += static_cast<double>(tensor::element_count(source.tensors->find(t.name)->shape));
  }
  return parameters > 0 ? 8.0 * static_cast<double>(plan.forecast.checkpoint_bytes) / parameters : 0;
}

void summarize(const ModelSource& source, const Plan& plan, json& summary) {
  summary = {{"solver", plan.solver},
             {"bits", plan.options.grid.bits},
             {"symmetric", plan.options.grid.symmetric},
             {"group_size", plan.options.grid.group_size},
             {"quantized_tensors", plan.quantized_count()},
             {"kept", kept_summary(plan)},
             {"forecast_bytes", plan.forecast.checkpoint_bytes},
             {"original_bytes", plan.forecast.original_bytes},
             {"bits_per_weight", bits_per_weight(source, plan)}};
}

void warn(StageContext& context, const std::string& what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  const std::vector<std::string> listed(names.begin(), names.begin() + std::min(names.size(), kMaxListed));
  context.progress.warning(
      absl::StrCat(what, ": ", absl::StrJoin(listed, ", "), names.size() > listed.size() ? ", ..." : ""));
}

}  // namespace

Status run_plan(StageContext& context) {
  const json& with = context.task.with;
  GQ_ASSIGN_OR_RETURN(const ModelSource source, open_analyzed_model(context));
  GQ_ASSIGN_OR_RETURN(const std::string calibration, input_folder(context, "calibrate"));
  GQ_ASSIGN_OR_RETURN(const TokenSet tokens, read_tokens(context.env, calibration));
  Plan plan;
  plan.model = source.path;
  plan.solver = with.at("solver").get<std::string>();
  plan.options = solver_options(with);
  Decisions decisions(source, plan.options, with.at("exclude").get<std::vector<std::string>>());
  GQ_ASSIGN_OR_RETURN(plan.tensors, decisions.decide());
  plan.build_index();
  if (plan.quantized_count() == 0) {
    return absl::InvalidArgumentError("exclude: leaves nothing to quantize; every linear weight is excluded");
  }
  plan.forecast = forecast_sizes(source, plan);
  GQ_RETURN_IF_ERROR(check_disk(context, plan.forecast));
  warn(context, "exclude: no tensor matches", decisions.unmatched());
  warn(context, "loaders that fuse the weights of a site (vLLM) need all of them quantized or none; mixed",
       partly_excluded_sites(source, plan));
  summarize(source, plan, context.summary);
  // Depends on machine and threads, which must not show in plan.json: that is part of later stages' keys.
  GQ_ASSIGN_OR_RETURN(const ops::Compute compute, device::resolve_compute("auto", context.cpu));
  MemorySetting setting;  // as quantize runs unless it is told otherwise
  setting.compute = compute;
  setting.threads = context.pool.threads();
  GQ_ASSIGN_OR_RETURN(const json defaults, complete_parameters(*find_stage("quantize"), json::object()));
  setting.budget = size_parameter(defaults, "hiddenStatesBudget");
  context.summary["memory_bytes"] = forecast_memory(source, plan, tokens, setting);
  return write_plan(context.env, context.task.artifact, plan);
}

}  // namespace gridquant::stages
