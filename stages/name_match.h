// Regular expressions over tensor names (plan's `exclude`). The only file here that knows the library.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::stages {

class NameMatcher {
 public:
  NameMatcher();
  ~NameMatcher();
  NameMatcher(NameMatcher&&) noexcept;
  NameMatcher& operator=(NameMatcher&&) noexcept;

  // InvalidArgument with the place in the expression that is wrong.
  static StatusOr<NameMatcher> compile(const std::vector<std::string>& expressions);
  // The index of the first expression found anywhere in `name`.
  std::optional<size_t> match(const std::string& name) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gridquant::stages
