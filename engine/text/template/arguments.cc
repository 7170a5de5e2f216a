// Arguments and budgets.
#include "engine/text/template/arguments.h"

#include <algorithm>

namespace gridquant::text::jinja {
namespace {

constexpr int64_t kBytesPerStep = 16;

}  // namespace

Status Budget::spend(int64_t steps) {
  left_ -= std::max<int64_t>(steps, 0);
  if (left_ >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError("the template does more work than is allowed; does it end?");
}

Status Budget::spend_text(int64_t bytes) {
  if (bytes > max_text_) {
    return absl::InvalidArgumentError("a text of more than " + std::to_string(max_text_) + " bytes would be made");
  }
  return spend(1 + bytes / kBytesPerStep);
}

StatusOr<Bound> Bound::make(const Arguments& arguments, std::initializer_list<std::string_view> names,
                            size_t required) {
  Bound bound;
  bound.names_ = names;
  bound.values_.resize(names.size(), nullptr);
  if (arguments.positional.size() > names.size()) {
    return absl::InvalidArgumentError("takes at most " + std::to_string(names.size()) + " arguments, " +
                                      std::to_string(arguments.positional.size()) + " are given");
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound.values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at = std::find(bound.names_.begin(), bound.names_.end(), name);
    if (at == bound.names_.end()) return absl::InvalidArgumentError("has no argument called '" + name + "'");
    const Value*& slot = bound.values_[static_cast<size_t>(at - bound.names_.begin())];
    if (slot != nullptr) return absl::InvalidArgumentError("is given '" + name + "' twice");
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound.values_[i] != nullptr) continue;
    return absl::InvalidArgumentError("needs the argument '" + std::string(bound.names_[i]) + "'");
  }
  return bound;
}

StatusOr<std::string> Bound::text(size_t i, std::string_view otherwise) const {
  if (values_[i] == nullptr) return std::string(otherwise);
  if (values_[i]->is_text()) return values_[i]->text();
  return absl::InvalidArgumentError("'" + std::string(names_[i]) + "' must be a str, not a " + type_of(*values_[i]));
}

StatusOr<int64_t> Bound::whole(size_t i, int64_t otherwise) const {
  if (values_[i] == nullptr) return otherwise;
  if (values_[i]->is_whole()) return values_[i]->whole();
  return absl::InvalidArgumentError("'" + std::string(names_[i]) + "' must be an int, not a " + type_of(*values_[i]));
}

bool Bound::truth(size_t i, bool otherwise) const {
  return values_[i] == nullptr ? otherwise : is_true(*values_[i]);
}

StatusOr<std::optional<std::string>> Bound::optional_text(size_t i) const {
  if (values_[i] == nullptr || values_[i]->is_none()) return std::optional<std::string>();
  GQ_ASSIGN_OR_RETURN(std::string given, text(i, ""));
  return std::optional<std::string>(std::move(given));
}

}  // namespace gridquant::text::jinja
