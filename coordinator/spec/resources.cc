// Expressions in resources and parallelism become plain scalars of the tree.
#include "coordinator/spec/resources.h"

#include <map>

#include "coordinator/spec/bind.h"
#include "coordinator/spec/scalars.h"

namespace gridquant::spec {
namespace {

using Found = std::map<const YNode*, bool>;

void collect(const YNode& node, Found& found) {
  if (node.kind == YNode::Kind::kScalar && has_expression(node)) found[&node] = true;
  for (const YEntry& entry : node.entries) collect(*entry.value, found);
}

}  // namespace

void bind_resources(YDocument& document, const Params& params, const Context& context) {
  const YNode* spec = find(*document.root, "spec");
  const YNode* stages = spec != nullptr ? find(*spec, "stages") : nullptr;
  if (stages == nullptr) return;
  Found found;
  for (const YEntry& stage : stages->entries) {
    for (const char* key : {"resources", "parallelism"}) {
      if (const YNode* node = find(*stage.value, key)) collect(*node, found);
    }
  }
  if (found.empty()) return;
  const MatrixValues no_matrix;
  const Scope scope{.params = params, .matrix = no_matrix, .stage_name = nullptr};
  for (YNode& node : document.nodes) {
    if (!found.contains(&node)) continue;
    const Bound bound = bind_template(node, scope, context);
    node.text = bound.ok && bound.known ? render_value(bound.value) : "1";
    node.quoted = false;
    node.verbatim = false;
  }
}

}  // namespace gridquant::spec
