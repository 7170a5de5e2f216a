// What a call in a template carries, and the bound on the work that a rendering may do.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

// Counts down steps, where one step also stands for some bytes made: bounds time and memory of a rendering.
class Budget {
 public:
  Budget(int64_t steps, int64_t max_text) : left_(steps), max_text_(max_text) {}
  Status spend(int64_t steps);
  // Before `bytes` of text are made. ResourceExhausted above the bound on one text.
  Status spend_text(int64_t bytes);
  Status spend_items(int64_t items) { return spend(1 + items / 4); }

 private:
  int64_t left_;
  int64_t max_text_;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Arguments by their places: parameters `names` in order. Borrows the arguments.
class Bound {
 public:
  // InvalidArgument: too many, unknown, twice, or fewer than `required`.
  static StatusOr<Bound> make(const Arguments& arguments, std::initializer_list<std::string_view> names,
                              size_t required = 0);
  const Value* operator[](size_t i) const { return values_[i]; }  // null where not given
  // Typed, with a value for what is not given; InvalidArgument for another type.
  StatusOr<std::string> text(size_t i, std::string_view otherwise) const;
  StatusOr<int64_t> whole(size_t i, int64_t otherwise) const;
  bool truth(size_t i, bool otherwise) const;
  // Absent and none are both nothing.
  StatusOr<std::optional<std::string>> optional_text(size_t i) const;

 private:
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

}  // namespace gridquant::text::jinja
