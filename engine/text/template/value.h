// What a template computes with: Python's values as far as templates meet them. Immutable but for a namespace's
// attributes and a loop's state, cheap to copy (large ones are shared). Single-threaded.
//
// Not here: what operators, filters and methods do with values (operators.h, filters.h, methods.h), and how a value is
// written (python_text.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::text::jinja {

class Value;
struct Node;   // syntax.h
struct Frame;  // renderer.h

// Absent: prints as nothing, is false, and is an error in any computation. `why` says what was not there.
struct Undefined {
  std::shared_ptr<const std::string> why;
};

struct None {};

using Text = std::shared_ptr<const std::string>;  // UTF-8

// What Python has several types for. A generator (what map and select give) can be gone through once.
struct Sequence {
  enum class Flavor { kList, kTuple, kRange, kKeys, kValues, kItems, kGenerator };
  Flavor flavor = Flavor::kList;
  std::vector<Value> items;
  size_t used = 0;  // of a generator: items that were taken
  int depth = 1;    // levels of sequences and mappings
};

// A mapping in the order of insertion.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

// The variable `loop` of a for statement.
struct Loop {
  std::vector<Value> items;
  size_t index = 0;
  int64_t depth = 0;
};

// A macro, or the body of a call statement (`caller`). `frame` is where it was defined.
struct Macro {
  std::string name;
  const Node* node = nullptr;
  std::weak_ptr<Frame> frame;
};

// A global function by its name, or a method of `self`.
struct Function {
  std::string name;
};
struct Method {
  std::shared_ptr<const Value> self;
  std::string name;
};

class Value {
 public:
  using Held =
      std::variant<Undefined, None, bool, int64_t, double, Text, std::shared_ptr<Sequence>, std::shared_ptr<const Dict>,
                   std::shared_ptr<Namespace>, std::shared_ptr<Loop>, std::shared_ptr<const Macro>, Function, Method>;
  Value() = default;  // undefined
  explicit Value(Held held) : held_(std::move(held)) {}
  static Value none() { return Value(Held(None{})); }
  static Value of(bool b) { return Value(Held(b)); }
  static Value of(int64_t i) { return Value(Held(i)); }
  static Value of(double d) { return Value(Held(d)); }
  static Value of(std::string text) { return Value(Held(std::make_shared<const std::string>(std::move(text)))); }
  static Value undefined(std::string why);

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&held_);
  }
  bool is_undefined() const { return std::holds_alternative<Undefined>(held_); }
  bool is_none() const { return std::holds_alternative<None>(held_); }
  bool is_text() const { return std::holds_alternative<Text>(held_); }
  bool is_bool() const { return std::holds_alternative<bool>(held_); }
  bool is_number() const { return is_bool() || get<int64_t>() != nullptr || get<double>() != nullptr; }
  const std::string& text() const { return **get<Text>(); }  // of a text only
  Sequence* sequence() const;                                // null if it is none
  const Dict* dict() const;
  Namespace* names() const;
  // As Python does: a boolean is 0 or 1. Precondition: is_number().
  double number() const;
  bool is_whole() const { return is_bool() || get<int64_t>() != nullptr; }
  int64_t whole() const { return is_bool() ? int64_t{*get<bool>()} : *get<int64_t>(); }

 private:
  Held held_;
};

inline constexpr int kMaxValueDepth = 100;  // of lists in lists: what walks values calls itself

// InvalidArgument if the items are nested too deeply.
StatusOr<Value> make_sequence(Sequence::Flavor flavor, std::vector<Value> items);
// The last of equal keys counts, in the place of the first. InvalidArgument also for a key that cannot be hashed.
StatusOr<Value> make_dict(std::vector<std::pair<Value, Value>> items);
int depth_of(const Value& value);

const Value* find(const Dict& dict, const Value& key);
const Value* find(const Dict& dict, std::string_view key);

bool is_true(const Value& value);             // Python's bool()
bool equals(const Value& a, const Value& b);  // ==
bool is_hashable(const Value& value);
std::string type_of(const Value& value);  // "str", "dict": what Python calls it, for messages
// a < b (-1), a == b (0), a > b (1); InvalidArgument where Python cannot compare.
StatusOr<int> compare(const Value& a, const Value& b);

// The items that a for loop would see: of a sequence, the keys of a mapping, the characters of a text. A generator is
// used up. InvalidArgument for anything else; an undefined value has none.
StatusOr<std::vector<Value>> iterate(const Value& value);
// len(); InvalidArgument where there is none.
StatusOr<int64_t> length_of(const Value& value);

}  // namespace gridquant::text::jinja
