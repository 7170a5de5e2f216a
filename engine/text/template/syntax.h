// A parsed template. One kind of node for statements and expressions: what its parts mean is said at each kind.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

struct Node;
using NodePtr = std::unique_ptr<Node>;

struct Node {
  enum class Kind {
    // Statements. `body` is a list of them.
    kData,         // text
    kOutput,       // parts: expressions to print, one after the other
    kIf,           // parts: conditions; bodies: one per condition, and one more for else
    kFor,          // parts: target, iterable, filter or null; bodies: body, else
    kSet,          // parts: target, value
    kSetBlock,     // parts: target, filter over kCaptured or null; bodies: body
    kMacro,        // text: name; names: parameters; parts: their defaults, null where there is none; bodies: body
    kCallBlock,    // parts: the call, and a kMacro for the body
    kFilterBlock,  // parts: filter over kCaptured; bodies: body
    kWith,         // names empty; parts: target, value, target, value ...; bodies: body
    kScope,        // bodies: body ({% generation %})
    kBreak,
    kContinue,
    // Targets are kName, kTuple of targets, or kNamespaceName.
    kNamespaceName,  // text: "ns", names: {"attribute"}
    // Expressions.
    kConstant,   // constant
    kName,       // text
    kTuple,      // parts
    kList,       // parts
    kDict,       // parts: key, value, key, value ...
    kAttribute,  // text; parts: object
    kItem,       // parts: object, index
    kSlice,      // parts: object, begin, end, step; null where left out
    kCall,       // parts: callee, then arguments; names: of the last arguments
    kFilter,     // text; parts: value, then arguments; names as above
    kTest,       // the same
    kNot,        // parts: one
    kNegative,
    kPositive,
    kAnd,  // parts: two
    kOr,
    kCondition,  // parts: condition, value if true, value if false or null
    kConcat,     // parts: several
    kBinary,     // text: the operator; parts: two
    kCompare,    // names: the operators; parts: one more than these
    kCaptured,   // what the body of kSetBlock or kFilterBlock gave
  };
  Kind kind = Kind::kConstant;
  size_t at = 0;  // byte in the source
  std::string text = {};
  Value constant = {};
  std::vector<NodePtr> parts = {};
  std::vector<std::string> names = {};
  std::vector<std::vector<NodePtr>> bodies = {};
  int depth = 1;  // levels below, itself counted
};

inline constexpr int kMaxSyntaxDepth = 150;  // parser and renderer call themselves for every level

}  // namespace gridquant::text::jinja
