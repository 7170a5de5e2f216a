#include "coordinator/spec/batch.h"

#include "coordinator/spec/check.h"
#include "coordinator/spec/draft.h"
#include "coordinator/spec/format.h"
#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

const YNode* scalar(const YNode& map, std::string_view key) {
  const YNode* node = find(map, key);
  return node != nullptr && node->kind == YNode::Kind::kScalar ? node : nullptr;
}

void read_params(const YNode& spec, Batch& batch, std::map<std::string, std::string>& params, const Context& context) {
  const YNode* given = find(spec, "params");
  if (given == nullptr) return;
  const YNode* matrix = find(spec, "matrix");
  for (const YEntry& entry : given->entries) {
    if (entry.value->kind != YNode::Kind::kScalar) continue;  // reported by its shape
    if (matrix != nullptr && find(*matrix, entry.key->text) != nullptr) {
      context.sink.add(Code::kListedTwice, entry.key->at,
                       "'" + entry.key->text + "' stands in 'params' and in 'matrix' of batch '" + batch.name + "'",
                       "keep one of the two");
    }
    params[entry.key->text] = entry.value->text;
  }
}

void read_members(const YNode& root, const YNode& spec, Batch& batch, const Context& context) {
  std::map<std::string, std::string> params;
  read_params(spec, batch, params, context);
  const YNode* metadata = find(root, "metadata");
  const YNode* name = metadata == nullptr ? nullptr : scalar(*metadata, "name");
  const YEntry* matrix = find_entry(spec, "matrix");
  std::vector<Instance> instances = {{batch.name, {}}};
  if (name != nullptr && matrix != nullptr && matrix->value->kind == YNode::Kind::kMap) {
    instances = expand_matrix(*name, *matrix, context);
  }
  std::map<std::string, int> names;
  for (const Instance& instance : instances) {
    BatchMember member{.name = instance.name, .params = params};
    for (const auto& [key, value] : instance.values) member.params[key] = render_value(value);
    if (++names[member.name] > 1) member.name += "-" + std::to_string(names[member.name]);  // a/x and a-x
    batch.members.push_back(std::move(member));
  }
}

Batch read_batch(const YNode& root, const Context& context) {
  Batch batch;
  check_shape(root, batch_format(), nullptr, context.sink);
  batch.folder = context.file_folder;
  if (const YNode* metadata = find(root, "metadata")) {
    if (const YNode* name = scalar(*metadata, "name")) batch.name = name->text;
    const YNode* labels = find(*metadata, "labels");
    if (labels != nullptr) {
      for (const YEntry& entry : labels->entries) batch.labels[entry.key->text] = entry.value->text;
    }
  }
  const YNode* spec = find(root, "spec");
  if (spec == nullptr || spec->kind != YNode::Kind::kMap) return batch;
  if (const YNode* pipeline = scalar(*spec, "pipeline")) {
    batch.pipeline = resolve_path(context.file_folder, pipeline->text);
  }
  if (const YNode* most = scalar(*spec, "maxParallel")) {
    const auto value = read_int(most->text);
    if (value && *value > 0 && *value <= kMaxInstances) batch.max_parallel = static_cast<int>(*value);
  }
  if (const YNode* fast = scalar(*spec, "failFast")) batch.fail_fast = read_bool(fast->text).value_or(false);
  read_members(root, *spec, batch, context);
  return batch;
}

}  // namespace

bool is_batch(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const SourceText source(text);
  Sink ignored("");
  const YDocument document = read_yaml(source, ignored);
  if (document.root == nullptr || document.root->kind != YNode::Kind::kMap) return false;
  const YNode* kind = scalar(*document.root, "kind");
  return kind != nullptr && kind->text == kBatchKind;
}

BatchResult parse_batch(std::string_view text, const ParseOptions& options) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const SourceText source(text);
  Sink sink(options.file);
  BatchResult result;
  const YDocument document = read_yaml(source, sink);
  if (document.root != nullptr && document.root->kind != YNode::Kind::kMap) {
    report(wrong_type(*document.root, {.name = "the document", .shape = Shape::kMap}, nullptr), document.root->at,
           sink);
  } else if (document.root != nullptr) {
    const Context context{source, sink, options, folder_of_file(options)};
    Batch batch = read_batch(*document.root, context);
    if (sink.empty()) result.batch = std::move(batch);
  }
  result.diagnostics = sink.take_sorted();
  return result;
}

ParseResult expand_member(const Batch& batch, const BatchMember& member, std::string_view pipeline_text,
                          bool one_cpu_node) {
  ParseResult result = parse_pipeline(
      pipeline_text,
      {.file = batch.pipeline, .params = member.params, .working_folder = batch.folder, .one_cpu_node = one_cpu_node});
  if (result.pipeline) {
    result.pipeline->name = member.name;
    for (const auto& [key, value] : batch.labels) result.pipeline->labels[key] = value;
  }
  return result;
}

}  // namespace gridquant::spec
