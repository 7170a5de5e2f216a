#include "coordinator/spec/ynode.h"

#include "coordinator/spec/scalars.h"

namespace gridquant::spec {

const YEntry* find_entry(const YNode& map, std::string_view key) {
  for (const YEntry& entry : map.entries) {
    if (entry.key->text == key) return &entry;
  }
  return nullptr;
}

const YNode* find(const YNode& map, std::string_view key) {
  const YEntry* entry = find_entry(map, key);
  return entry == nullptr ? nullptr : entry->value;
}

Position position_inside(const SourceText& source, const YNode& scalar, size_t offset, size_t length) {
  if (!scalar.verbatim) return scalar.at;
  return source.position_of(scalar.text_offset + offset, length);
}

std::string describe(const YNode& node) {
  switch (node.kind) {
    case YNode::Kind::kNull:
      return "nothing";
    case YNode::Kind::kList:
      return "a list";
    case YNode::Kind::kMap:
      return "a map";
    case YNode::Kind::kScalar:
      return describe_value(read_scalar(node.text, node.quoted));
  }
  return "nothing";
}

}  // namespace gridquant::spec
