// parse_pipeline: the steps in order. Each reports what it sees and goes on with what is sound.
#include <map>

#include "coordinator/spec/check.h"
#include "coordinator/spec/condition.h"
#include "coordinator/spec/fan_out.h"
#include "coordinator/spec/graph.h"
#include "coordinator/spec/resources.h"
#include "coordinator/spec/scalars.h"
#include "coordinator/spec/spec.h"
#include "coordinator/spec/with.h"

namespace gridquant::spec {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// A document of another kind or version has other keys: say that, and nothing about its keys.
bool is_ours(const YNode& root, Sink& sink) {
  bool ours = true;
  const std::pair<const char*, std::string> envelope[] = {{"apiVersion", kApiVersion}, {"kind", kKind}};
  for (const auto& [name, wanted] : envelope) {
    const YNode* node = find(root, name);
    if (node == nullptr || node->kind != YNode::Kind::kScalar || node->text == wanted) continue;
    std::string hint = sink.suggest(node->text, {wanted});
    if (node->text == kBatchKind) hint = "a batch is a list of runs: a coordinator takes it, not 'gridquant run'";
    if (hint.empty()) hint = std::string("write '") + name + ": " + wanted + "'";
    sink.add(Code::kUnknownFormat, node->at,
             std::string(name) + " '" + shorten(node->text) + "' is none that this version of gridquant knows",
             std::move(hint));
    ours = false;
  }
  return ours;
}

class Assembler {
 public:
  Assembler(const std::vector<StageDraft>& drafts, const Graph& graph, const Params& params, const Context& context)
      : drafts_(drafts), graph_(graph), params_(params), context_(context) {
    for (const stages::StageInfo& info : stages::all_stages()) formats_.emplace(&info, with_format(info));
  }

  StagePlan plan(int index, std::string condition) const {
    const GraphNode& node = graph_.nodes[index];
    const StageDraft& draft = drafts_[node.draft];
    const Instance& instance = draft.instances[node.instance];
    StagePlan plan = draft.settings;
    plan.name = instance.name;
    for (const int need : node.needs) plan.needs.push_back(name(need));
    for (const auto& [input, producer] : node.inputs) plan.inputs[input] = name(producer);
    for (const auto& [key, value] : instance.values) plan.matrix[key] = render_value(value);
    plan.condition = std::move(condition);
    const YEntry* with = find_entry(*draft.node, "with");
    if (draft.info == nullptr || (with == nullptr && draft.has_unknown_keys)) return plan;
    const Scope scope{.params = params_, .matrix = instance.values, .stage_name = nullptr};
    plan.with = read_with(with, *draft.key, formats_.at(draft.info), scope, context_);
    return plan;
  }

 private:
  const std::string& name(int index) const {
    const GraphNode& node = graph_.nodes[index];
    return drafts_[node.draft].instances[node.instance].name;
  }

  const std::vector<StageDraft>& drafts_;
  const Graph& graph_;
  const Params& params_;
  const Context& context_;
  std::map<const stages::StageInfo*, FormatField> formats_;
};

void read_metadata(const YNode& root, Pipeline& pipeline) {
  const YNode* metadata = find(root, "metadata");
  if (metadata == nullptr) return;
  if (const YNode* name = find(*metadata, "name")) pipeline.name = name->text;
  if (const YNode* labels = find(*metadata, "labels")) {
    for (const YEntry& entry : labels->entries) pipeline.labels[entry.key->text] = entry.value->text;
  }
}

// What check_shape has found wrong keeps its default.
void read_scheduling(const YNode& spec, Pipeline& pipeline) {
  const auto scalar = [&](const char* key) -> const YNode* {
    const YNode* node = find(spec, key);
    return node != nullptr && node->kind == YNode::Kind::kScalar ? node : nullptr;
  };
  if (const YNode* queue = scalar("queue")) pipeline.queue = queue->text;
  if (const YNode* priority = scalar("priority")) {
    const auto value = read_int(priority->text);
    if (value && *value >= -100 && *value <= 100) pipeline.priority = static_cast<int>(*value);
  }
  if (const YNode* deadline = scalar("deadline")) {
    pipeline.deadline_ms = read_duration(deadline->text).value_or(0);
  }
}

Pipeline read_document(YDocument& document, const Context& context) {
  Pipeline pipeline;
  const YNode& root = *document.root;
  const YNode* spec = find(root, "spec");
  const bool has_spec = spec != nullptr && spec->kind == YNode::Kind::kMap;
  const Params params = has_spec ? read_params(*spec, context) : Params();
  bind_resources(document, params, context);
  check_shape(root, pipeline_format(), nullptr, context.sink);
  read_metadata(root, pipeline);
  if (!has_spec) return pipeline;
  read_scheduling(*spec, pipeline);
  pipeline.params = final_values(params);
  std::vector<StageDraft> drafts = read_stages(*spec, context);
  const Names names = collect_names(drafts, context);
  const std::vector<int> order = resolve_needs(drafts, names, context);
  Graph graph = connect(drafts, order, context);
  find_inputs(drafts, order, graph, context);
  ConditionReader conditions(drafts, graph, names, params, context);
  const Assembler assembler(drafts, graph, params, context);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const int index = static_cast<int>(i);
    pipeline.stages.push_back(assembler.plan(index, conditions.read(index)));
  }
  fan_out(drafts, graph, context, pipeline.stages);
  return pipeline;
}

}  // namespace

ParseResult parse_pipeline(std::string_view text, const ParseOptions& options) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const SourceText source(text);
  Sink sink(options.file);
  ParseResult result;
  YDocument document = read_yaml(source, sink);
  if (document.root != nullptr && document.root->kind != YNode::Kind::kMap) {
    report(wrong_type(*document.root, {.name = "the document", .shape = Shape::kMap}, nullptr), document.root->at,
           sink);
  } else if (document.root != nullptr && is_ours(*document.root, sink)) {
    const Context context{source, sink, options, folder_of_file(options)};
    Pipeline pipeline = read_document(document, context);
    if (sink.empty()) result.pipeline = std::move(pipeline);
  }
  result.diagnostics = sink.take_sorted();
  return result;
}

Diagnostic unreadable_file(const std::string& file, const std::string& reason) {
  return {.code = code_name(Code::kUnreadable),
          .file = file,
          .line = 1,
          .column = 1,
          .length = 1,
          .message = "cannot be read: " + reason,
          .hint = ""};
}

StatusOr<std::map<std::string, std::string>> parse_param_arguments(const std::vector<std::string>& arguments) {
  std::map<std::string, std::string> params;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError("-p takes key=value, not '" + argument + "'");
    }
    if (!params.emplace(argument.substr(0, equals), argument.substr(equals + 1)).second) {
      return absl::InvalidArgumentError("-p gives '" + argument.substr(0, equals) + "' twice");
    }
  }
  return params;
}

}  // namespace gridquant::spec
