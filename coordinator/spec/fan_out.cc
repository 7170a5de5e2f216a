// Parts of quantize stages. Not here: which blocks a part has, for how many there are is known only when it runs.
#include "coordinator/spec/fan_out.h"

#include <set>
#include <string>

#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

class FanOut {
 public:
  FanOut(const std::vector<StageDraft>& drafts, const Graph& graph, const Context& context,
         std::vector<StagePlan>& stages)
      : drafts_(drafts), graph_(graph), context_(context) {
    stages_.swap(stages);
    for (const StagePlan& stage : stages_) names_.insert(stage.name);
  }

  // Stage number `index` as it is, or its parts and what joins them.
  void add(size_t index, std::vector<StagePlan>& to) {
    const StageDraft& draft = draft_of(static_cast<int>(index));
    if (draft.parallelism == nullptr || !check(index, draft)) {
      to.push_back(stages_[index]);
      return;
    }
    StagePlan join = stages_[index];
    for (int number = 1; number <= draft.parts; ++number) {
      StagePlan part = part_of(stages_[index], number, draft.parts);
      join.needs.push_back(part.name);
      join.inputs[stages::part_input(number)] = part.name;
      to.push_back(std::move(part));
    }
    // It links files: the ranks and GPUs are for the parts.
    join.gang_ranks = join.gang_min_ranks = 1;
    join.gpus_per_rank = 0;
    to.push_back(std::move(join));
  }

 private:
  static std::string part_name(const StagePlan& stage, int number) {
    return stage.name + "-part-" + std::to_string(number);
  }

  static StagePlan part_of(const StagePlan& stage, int number, int parts) {
    const stages::StageInfo& info = *stages::find_stage(stages::kPartStage);
    StagePlan part = stage;
    part.name = part_name(stage, number);
    part.uses = info.name;
    part.version = info.version;
    part.with = nlohmann::json::object();
    for (const stages::Field& field : info.fields) {
      if (stage.with.is_object() && stage.with.contains(field.name)) part.with[field.name] = stage.with[field.name];
    }
    part.with["part"] = number;
    part.with["parts"] = parts;
    return part;
  }

  // One report for all instances of a matrix.
  bool check(size_t index, const StageDraft& draft) {
    if (draft.info == nullptr || failed_.contains(&draft)) return false;
    std::string hint;
    std::string message =
        draft.info->name == "quantize" ? missing_hessians(index, draft, hint) : wrong_kind(draft, hint);
    if (message.empty()) message = wrong_names(stages_[index], draft, hint);
    if (message.empty()) return true;
    failed_.insert(&draft);
    context_.sink.add(Code::kParallelism, draft.parallelism->key->at, std::move(message), std::move(hint));
    return false;
  }

  static std::string wrong_kind(const StageDraft& draft, std::string& hint) {
    hint = "remove 'parallelism'";
    return "'" + draft.key->text + "' is a stage of kind " + draft.info->name + "; only quantize runs in parts";
  }

  std::string missing_hessians(size_t index, const StageDraft& draft, std::string& hint) const {
    const auto& inputs = graph_.nodes[index].inputs;
    const auto plan = inputs.find("plan"), calibrate = inputs.find("calibrate");
    if (plan == inputs.end() || calibrate == inputs.end()) return "";
    const std::string statistics = word(calibrate->second, "statistics");
    if (word(plan->second, "solver") != "gptq" || statistics.empty() || statistics == "hessian") return "";
    const std::string& name = draft_of(calibrate->second).key->text;
    hint = "write 'statistics: hessian' into the 'with' of stage '" + name + "'";
    return "the parts of '" + draft.key->text + "' read the Hessians of stage '" + name +
           "', which stores none (statistics: " + statistics + ")";
  }

  std::string wrong_names(const StagePlan& stage, const StageDraft& draft, std::string& hint) {
    const std::string longest = part_name(stage, draft.parts);
    if (is_dns_label(stage.name) && !is_dns_label(longest)) {
      hint = "shorten the stage's name";
      return "a part would be called '" + shorten(longest, 70) + "', of more than 63 characters";
    }
    for (int number = 1; number <= draft.parts; ++number) {
      if (names_.insert(part_name(stage, number)).second) continue;
      hint = "rename one of the two stages";
      return "a part would be called '" + part_name(stage, number) + "', as another stage is";
    }
    if (names_.size() <= static_cast<size_t>(kMaxStages)) return "";
    return "with these parts the file has more than " + std::to_string(kMaxStages) + " stages";
  }

  const StageDraft& draft_of(int index) const {
    return drafts_[static_cast<size_t>(graph_.nodes[static_cast<size_t>(index)].draft)];
  }

  // A parameter's text; "" where it is wrong and reported, or follows from what a run may be given.
  std::string word(int index, const char* key) const {
    const YNode* with = find(*draft_of(index).node, "with");
    const YNode* given = with == nullptr ? nullptr : find(*with, key);
    if (given != nullptr && !context_.options.params_required && has_expression(*given)) return "";
    const nlohmann::json& values = stages_[static_cast<size_t>(index)].with;
    if (!values.is_object() || !values.contains(key) || !values[key].is_string()) return "";
    return values[key].get<std::string>();
  }

  const std::vector<StageDraft>& drafts_;
  const Graph& graph_;
  const Context& context_;
  std::vector<StagePlan> stages_;
  std::set<std::string> names_;  // of all stages and parts
  std::set<const StageDraft*> failed_;
};

}  // namespace

void fan_out(const std::vector<StageDraft>& drafts, const Graph& graph, const Context& context,
             std::vector<StagePlan>& stages) {
  FanOut parts(drafts, graph, context, stages);
  for (size_t i = 0; i < graph.nodes.size(); ++i) parts.add(i, stages);
}

}  // namespace gridquant::spec
