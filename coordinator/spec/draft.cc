#include "coordinator/spec/draft.h"

#include <optional>
#include <unordered_set>

#include "coordinator/spec/format.h"
#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

const YNode* scalar(const YNode* map, std::string_view key) {
  if (map == nullptr) return nullptr;
  const YNode* node = find(*map, key);
  return node != nullptr && node->kind == YNode::Kind::kScalar ? node : nullptr;
}

template <typename Value, typename Read>
void take(const YNode* map, std::string_view key, Read read, Value& into) {
  const YNode* node = scalar(map, key);
  if (node == nullptr) return;
  if (const auto value = read(node->text)) into = static_cast<Value>(*value);
}

// Only within the ranges of the tables, so that a value reported as too large cannot overflow an int here.
std::optional<int64_t> read_small(std::string_view text) {
  const auto value = read_int(text);
  return value && *value >= 0 && *value <= 1'000'000 ? value : std::nullopt;
}

void read_retry(const YNode* retry, RetryPolicy& policy) {
  if (retry == nullptr) return;
  take(retry, "maxAttempts", read_small, policy.max_attempts);
  const YNode* backoff = find(*retry, "backoff");
  take(backoff, "initial", read_duration, policy.initial_backoff_ms);
  take(backoff, "factor", read_number, policy.factor);
  take(backoff, "max", read_duration, policy.max_backoff_ms);
  const YNode* on = find(*retry, "on");
  if (on != nullptr && on->kind == YNode::Kind::kList && on->items.empty()) policy.max_attempts = 1;
}

void check_backoff(const YNode* retry, const RetryPolicy& policy, const Context& context) {
  const YNode* backoff = retry == nullptr ? nullptr : find(*retry, "backoff");
  if (backoff == nullptr || policy.initial_backoff_ms <= policy.max_backoff_ms) return;
  const YEntry* entry = find_entry(*backoff, "initial");
  if (entry == nullptr) entry = find_entry(*backoff, "max");
  if (entry == nullptr) return;
  context.sink.add(Code::kOutOfRange, entry->value->at, "the first pause is longer than the longest one",
                   "'initial' must not exceed 'max'");
}

void read_resources(const YNode* resources, StageDraft& draft, const Context& context) {
  if (resources == nullptr) return;
  StagePlan& settings = draft.settings;
  take(resources, "cores", read_small, settings.cores);
  take(resources, "memory", read_size, settings.memory_bytes);
  take(resources, "gpusPerRank", read_small, settings.gpus_per_rank);
  const YNode* gang = find(*resources, "gang");
  take(gang, "ranks", read_small, settings.gang_ranks);
  settings.gang_min_ranks = settings.gang_ranks;
  take(gang, "minRanks", read_small, settings.gang_min_ranks);
  if (settings.gang_min_ranks > settings.gang_ranks) {
    context.sink.add(Code::kImpossibleResources, find(*gang, "minRanks")->at,
                     "'minRanks' is " + std::to_string(settings.gang_min_ranks) + ", more than the gang's " +
                         std::to_string(settings.gang_ranks) + " ranks");
  }
  const YNode* selector = find(*resources, "nodeSelector");
  if (selector != nullptr) {
    for (const YEntry& entry : selector->entries) settings.node_selector[entry.key->text] = entry.value->text;
  }
  if (!context.options.one_cpu_node) return;
  if (!settings.node_selector.empty()) {
    context.sink.add(Code::kNotOnThisMachine, selector->at,
                     "this machine has no labels; stage '" + draft.key->text + "' asks for a node that has",
                     "remove 'nodeSelector', or submit the pipeline to a cluster");
  }
  if (settings.gpus_per_rank > 0 && settings.gpus_per_rank <= kMaxGpusPerRank) {  // beyond: reported already
    context.sink.add(Code::kNotOnThisMachine, find(*resources, "gpusPerRank")->at,
                     "this build runs on the CPU; stage '" + draft.key->text + "' asks for GPUs",
                     "remove it, or submit the pipeline to a cluster");
  }
}

void read_uses(StageDraft& draft, const Context& context) {
  const YNode* uses = scalar(draft.node, "uses");
  if (uses == nullptr) return;
  draft.info = uses->text == stages::kPartStage ? nullptr : stages::find_stage(uses->text);
  if (draft.info != nullptr) {
    draft.settings.uses = draft.info->name;
    draft.settings.version = draft.info->version;
    return;
  }
  if (!uses->quoted && !read_scalar(uses->text, false).is_string()) return;  // check_shape has reported its type
  std::vector<std::string> names;
  std::string list;
  for (const stages::StageInfo& info : stages::all_stages()) {
    names.push_back(info.name);
    list += (list.empty() ? "" : ", ") + info.name;
  }
  std::string hint = context.sink.suggest(uses->text, names);
  if (hint.empty()) hint = "one of " + list;
  context.sink.add(Code::kUnknownStageType, uses->at, "unknown kind of stage '" + shorten(uses->text) + "'",
                   std::move(hint));
}

void read_needs(StageDraft& draft) {
  const YNode* needs = find(*draft.node, "needs");
  if (needs == nullptr) {
    draft.needs_broken = draft.has_unknown_keys;
    return;
  }
  std::unordered_set<std::string_view> seen;
  const auto add = [&](const YNode& node) {
    const bool name = node.kind == YNode::Kind::kScalar && read_scalar(node.text, node.quoted).is_string();
    draft.needs_broken = draft.needs_broken || !name;
    if (name && seen.insert(node.text).second) draft.needs.push_back({.node = &node});
  };
  if (needs->kind == YNode::Kind::kList) {
    for (const YNode* item : needs->items) add(*item);
  } else {
    add(*needs);
  }
}

const YNode* map_of(const YNode* map, std::string_view key) {
  const YNode* node = map == nullptr ? nullptr : find(*map, key);
  return node != nullptr && node->kind == YNode::Kind::kMap ? node : nullptr;
}

void read_parallelism(StageDraft& draft) {
  const YEntry* entry = find_entry(*draft.node, "parallelism");
  if (entry == nullptr) return;
  if (entry->value->kind == YNode::Kind::kScalar && entry->value->text == "blocks") draft.parts = kDefaultParts;
  take(map_of(draft.node, "parallelism"), "blocks", read_small, draft.parts);
  if (draft.parts >= 1 && draft.parts <= stages::kMaxParts) draft.parallelism = entry;
}

StageDraft read_stage(const YEntry& entry, const StagePlan& defaults, const Context& context) {
  StageDraft draft{
      .key = entry.key, .node = entry.value, .info = nullptr, .needs = {}, .instances = {}, .settings = defaults};
  for (const YEntry& key : draft.node->entries) {
    draft.has_unknown_keys = draft.has_unknown_keys || find_field(stage_format(), key.key->text) == nullptr;
  }
  read_uses(draft, context);
  read_needs(draft);
  const YNode* retry = map_of(draft.node, "retry");
  read_retry(retry, draft.settings.retry);
  check_backoff(retry, draft.settings.retry, context);
  take(draft.node, "timeout", read_duration, draft.settings.timeout_ms);
  take(draft.node, "deadline", read_duration, draft.settings.deadline_ms);
  read_resources(map_of(draft.node, "resources"), draft, context);
  read_parallelism(draft);
  const YEntry* matrix = find_entry(*draft.node, "matrix");
  draft.has_matrix = matrix != nullptr && matrix->value->kind == YNode::Kind::kMap;
  if (draft.has_matrix) {
    draft.instances = expand_matrix(*draft.key, *matrix, context);
  } else {
    draft.instances.push_back({draft.key->text, {}});
  }
  return draft;
}

}  // namespace

std::vector<StageDraft> read_stages(const YNode& spec, const Context& context) {
  std::vector<StageDraft> drafts;
  const YEntry* block = find_entry(spec, "stages");
  if (block == nullptr || block->value->kind != YNode::Kind::kMap) return drafts;
  if (block->value->entries.empty() && !block->value->incomplete) {
    context.sink.add(Code::kEmpty, block->value->at, "'stages' is empty", "add a stage");
  }
  StagePlan defaults;
  const YNode* given = map_of(&spec, "defaults");
  const YNode* retry = map_of(given, "retry");
  read_retry(retry, defaults.retry);
  check_backoff(retry, defaults.retry, context);
  take(given, "timeout", read_duration, defaults.timeout_ms);
  size_t instances = 0;
  for (const YEntry& entry : block->value->entries) {
    if (entry.value->kind != YNode::Kind::kMap) {
      // Reported; it stays as a name that others may need, and nothing is concluded from what it lacks.
      static const YNode kNothing{.kind = YNode::Kind::kMap};
      drafts.push_back(read_stage({entry.key, &kNothing}, defaults, context));
      drafts.back().needs_broken = true;
    } else {
      drafts.push_back(read_stage(entry, defaults, context));
    }
    instances += drafts.back().instances.size();
    if (instances <= static_cast<size_t>(kMaxStages)) continue;
    context.sink.add(Code::kMatrixTooLarge, entry.key->at,
                     "with this stage the file has more than " + std::to_string(kMaxStages) + " stages");
    break;
  }
  return drafts;
}

}  // namespace gridquant::spec
