#include "coordinator/spec/condition.h"

#include <algorithm>

#include "coordinator/spec/scalars.h"

namespace gridquant::spec {

const MatrixValues& ConditionReader::values(int index) const {
  const GraphNode& node = graph_.nodes[index];
  return drafts_[node.draft].instances[node.instance].values;
}

std::string ConditionReader::read(int index) {
  const StageDraft& draft = drafts_[graph_.nodes[index].draft];
  const YNode* node = find(*draft.node, "if");
  if (node == nullptr) return "";
  const auto wrong = [&](const std::string& found) {
    context_.sink.add(Code::kWrongType, node->at, "'if' must be an expression that is true or false, not " + found);
    return std::string();
  };
  if (node->kind != YNode::Kind::kScalar) return wrong(describe(*node));
  const auto constant = read_scalar(node->text, node->quoted);
  if (constant.is_boolean()) return constant.get<bool>() ? "" : "false";
  if (constant.is_number()) return wrong(describe(*node));

  std::string_view text = node->text;
  size_t offset = 0;
  const TemplateResult split = split_template(text);
  if (split.parts.size() == 1 && split.parts[0].is_expression) {
    offset = split.parts[0].offset;
    text = text.substr(offset, split.parts[0].text.size());
  } else if (text.find("${") != std::string_view::npos) {
    const size_t begin = text.find("${");
    context_.sink.add(Code::kExpressionSyntax, position_inside(context_.source, *node, begin, 2),
                      split.errors.empty() ? "'if' takes one expression" : split.errors[0].message,
                      "write one ${...} around the whole expression");
    return "";
  }
  const Scope scope{.params = params_,
                    .matrix = values(index),
                    .stage_name = [this, index](const std::vector<std::string>& path, const Position& at) {
                      return look_up(index, path, at);
                    }};
  const Bound bound = bind_expression(text, *node, offset, scope, context_);
  if (!bound.ok) return "";
  if (bound.type == StaticType::kNumber || bound.type == StaticType::kText) return wrong(describe_type(bound.type));
  if (bound.known) return bound.value == true ? "" : "false";
  if (bound.text.size() > kMaxExpressionBytes) {
    context_.sink.add(Code::kTooLarge, node->at, "the expression is too long with its parameters replaced");
  }
  return bound.text;
}

NameInfo ConditionReader::look_up(int index, const std::vector<std::string>& path, const Position& at) {
  if (path.size() < 3) {
    context_.sink.add(Code::kUndefinedName, at, "a stage's result has two more parts",
                      "write stages.NAME.state or stages.NAME.summary.VALUE");
    return {};
  }
  if (path[2] != "state" && path[2] != "summary") {
    context_.sink.add(Code::kUndefinedName, at, "a stage has 'state' and 'summary', no '" + shorten(path[2]) + "'",
                      context_.sink.suggest(path[2], {"state", "summary"}));
    return {};
  }
  if (path[2] == "state" && path.size() > 3) {
    context_.sink.add(Code::kUndefinedName, at, "a stage's state is text and has no parts");
    return {};
  }
  const int other = instance_named(index, path[1], at);
  if (other < 0) return {};
  const GraphNode& node = graph_.nodes[other];
  std::string text = "stages." + drafts_[node.draft].instances[node.instance].name;
  for (size_t i = 2; i < path.size(); ++i) text += "." + path[i];
  return {.ok = true,
          .known = false,
          .value = {},
          .type = path[2] == "state" ? StaticType::kText : StaticType::kAny,
          .text = std::move(text)};
}

int ConditionReader::instance_named(int index, const std::string& name, const Position& at) {
  const auto found = names_.find(name);
  if (found == names_.end()) {
    std::vector<std::string> known;
    for (const StageDraft& draft : drafts_) known.push_back(draft.key->text);
    context_.sink.add(Code::kUndefinedName, at, "no stage is called '" + shorten(name) + "'",
                      context_.sink.suggest(name, known));
    return -1;
  }
  const StageDraft& draft = drafts_[found->second.draft];
  std::vector<int> candidates;
  for (size_t i = 0; i < draft.instances.size(); ++i) {
    const bool wanted = found->second.instance >= 0 ? found->second.instance == static_cast<int>(i)
                                                    : agree(values(index), draft.instances[i].values);
    if (wanted) candidates.push_back(graph_.first[found->second.draft] + static_cast<int>(i));
  }
  if (candidates.size() != 1) {
    context_.sink.add(Code::kNotAvailableHere, at, "stage '" + name + "' has a matrix and so several results",
                      "name one instance, such as stages." + draft.instances[0].name);
    return -1;
  }
  if (candidates[0] == index) {
    context_.sink.add(Code::kNotAvailableHere, at, "a stage's own result is not known before it has run");
    return -1;
  }
  if (!graph_.nodes[index].uncertain && !is_above(index, candidates[0])) {
    context_.sink.add(Code::kNotAvailableHere, at,
                      "'" + name + "' is not among the needs of this stage, so its result may not be known yet",
                      "add '" + name + "' to 'needs'");
    return -1;
  }
  return candidates[0];
}

bool ConditionReader::is_above(int index, int other) {
  std::vector<int> open = {index};
  std::vector<bool> seen(graph_.nodes.size(), false);
  while (!open.empty()) {
    const int at = open.back();
    open.pop_back();
    for (const int need : graph_.nodes[at].needs) {
      if (need == other || ++visits_ > kMaxVisits) return true;
      if (seen[need]) continue;
      seen[need] = true;
      open.push_back(need);
    }
  }
  return false;
}

}  // namespace gridquant::spec
