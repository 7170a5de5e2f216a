// A YAML document as a small tree that knows where everything stands. What the rest of the validator works on;
// yaml-cpp stays behind read_yaml.
//
// Aliases are shared nodes, so the tree is a graph without cycles; YNode::weight bounds what a recursive walk visits.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/spec/sink.h"
#include "coordinator/spec/source.h"

namespace gridquant::spec {

struct YNode;

struct YEntry {
  const YNode* key = nullptr;  // a scalar
  const YNode* value = nullptr;
};

struct YNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string text = {};    // of a scalar
  bool quoted = false;      // quoted or block scalar: text whatever it looks like
  bool incomplete = false;  // a map with keys left out, because they were no text
  bool verbatim = false;    // `text` stands in the source character by character from text_offset on
  size_t text_offset = 0;
  Position at = {};
  std::vector<YEntry> entries = {};      // of a map, in file order, without the repeated keys
  std::vector<const YNode*> items = {};  // of a list
  uint64_t weight = 1;                   // nodes below and itself, aliases counted as often as they are used
};

struct YDocument {
  std::deque<YNode> nodes;
  const YNode* root = nullptr;  // null when there are diagnostics that leave nothing to work on
};

inline constexpr size_t kMaxFileBytes = size_t{4} << 20;
inline constexpr int kMaxDepth = 64;
inline constexpr uint64_t kMaxWeight = 1'000'000;

// Any bytes give a document or diagnostics. Reports what is wrong with the file and with YAML as such, and duplicate
// keys.
YDocument read_yaml(const SourceText& source, Sink& sink);

const YNode* find(const YNode& map, std::string_view key);  // the value; null if absent or `map` is no map
const YEntry* find_entry(const YNode& map, std::string_view key);

// Where character `offset` (bytes into text) of a scalar stands: exact if the source has the text verbatim, otherwise
// the whole scalar.
Position position_inside(const SourceText& source, const YNode& scalar, size_t offset, size_t length);

std::string describe(const YNode& node);  // "a list", "the number 4", "the text 'abc'"

}  // namespace gridquant::spec
