// The matrix of one stage: its axes, every combination of their values, and what each is called.
#include <algorithm>
#include <set>

#include "coordinator/spec/draft.h"
#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

struct Axis {
  std::string name;
  std::vector<const YNode*> nodes;
};

// The axes that can be expanded; what is wrong with the others has been reported, or is here.
std::vector<Axis> read_axes(const YEntry& matrix, const Context& context) {
  std::vector<Axis> axes;
  if (matrix.value->entries.empty()) {
    context.sink.add(Code::kEmpty, matrix.value->at, "'matrix' is empty", "add a key with a list, or remove 'matrix'");
  }
  for (const YEntry& entry : matrix.value->entries) {
    if (entry.key->text == "include" || entry.key->text == "exclude") continue;  // check_shape has refused them
    Axis axis{.name = entry.key->text, .nodes = {}};
    std::set<std::string> seen;
    for (const YNode* item : entry.value->items) {
      if (item->kind != YNode::Kind::kScalar) continue;
      if (!seen.insert(read_scalar(item->text, item->quoted).dump()).second) continue;  // reported by check_shape
      if (slug(read_scalar(item->text, item->quoted)).empty()) {
        context.sink.add(Code::kMatrixNames, item->at, "this value has no letter or digit to name a stage with");
        continue;
      }
      axis.nodes.push_back(item);
    }
    if (!axis.nodes.empty()) axes.push_back(std::move(axis));
  }
  return axes;
}

}  // namespace

std::string slug(const json& value) {
  const std::string text = render_value(value);
  std::string result = value.is_number() && text.starts_with('-') ? "minus" : "";
  bool gap = !result.empty();
  for (const char c : text) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9')) {
      if (gap && !result.empty()) result += '-';
      result += lower;
      gap = false;
    } else {
      gap = true;
    }
  }
  return result;
}

std::vector<Instance> expand_matrix(const YNode& stage_key, const YEntry& matrix, const Context& context) {
  std::vector<Instance> instances = {{stage_key.text, {}}};
  const std::vector<Axis> axes = read_axes(matrix, context);
  size_t count = 1;
  for (const Axis& axis : axes) {
    count *= axis.nodes.size();
    if (count > static_cast<size_t>(kMaxInstances)) {
      context.sink.add(
          Code::kMatrixTooLarge, matrix.key->at,
          "the matrix of '" + stage_key.text + "' has more than " + std::to_string(kMaxInstances) + " combinations");
      return instances;
    }
  }
  for (const Axis& axis : axes) {
    std::vector<Instance> next;
    next.reserve(instances.size() * axis.nodes.size());
    for (const Instance& instance : instances) {
      for (const YNode* node : axis.nodes) {
        Instance with_value = instance;
        const json value = read_scalar(node->text, node->quoted);
        with_value.name += "-" + slug(value);
        with_value.values[axis.name] = value;
        next.push_back(std::move(with_value));
      }
    }
    instances = std::move(next);
  }
  for (const Instance& instance : instances) {
    if (is_dns_label(instance.name) || !is_dns_label(stage_key.text)) continue;
    context.sink.add(Code::kMatrixNames, matrix.key->at,
                     "the matrix gives a stage name of " + std::to_string(instance.name.size()) + " characters: '" +
                         shorten(instance.name, 70) + "'",
                     "shorten the stage's name or the values to at most 63 in all");
    break;
  }
  return instances;
}

}  // namespace gridquant::spec
