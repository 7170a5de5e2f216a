// Names against regular expressions, through PCRE2 with a limit on backtracking.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "stages/name_match.h"

#include <pcre2.h>

#include "absl/strings/str_cat.h"

namespace gridquant::stages {
namespace {

constexpr uint32_t kMatchLimit = 100'000;  // steps: far more than a tensor's name needs

}  // namespace

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
using Code = std::unique_ptr<pcre2_code, FreeCode>;

struct NameMatcher::State {
  std::vector<Code> codes;
};

NameMatcher::NameMatcher() = default;
NameMatcher::~NameMatcher() = default;
NameMatcher::NameMatcher(NameMatcher&&) noexcept = default;
NameMatcher& NameMatcher::operator=(NameMatcher&&) noexcept = default;

StatusOr<NameMatcher> NameMatcher::compile(const std::vector<std::string>& expressions) {
  NameMatcher matcher;
  matcher.state_ = std::make_unique<State>();
  for (const std::string& expression : expressions) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    Code code(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(), 0, &error, &offset, nullptr));
    if (code == nullptr) {
      unsigned char text[256] = {};
      pcre2_get_error_message(error, text, sizeof(text));
      return absl::InvalidArgumentError(absl::StrCat("regular expression /", expression,
                                                     "/: ", reinterpret_cast<const char*>(text), " at character ",
                                                     offset + 1));
    }
    matcher.state_->codes.push_back(std::move(code));
  }
  return matcher;
}

std::optional<size_t> NameMatcher::match(const std::string& name) const {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  if (context != nullptr) pcre2_set_match_limit(context, kMatchLimit);
  std::optional<size_t> found;
  for (size_t i = 0; i < state_->codes.size() && !found; ++i) {
    pcre2_match_data* data = pcre2_match_data_create_from_pattern(state_->codes[i].get(), nullptr);
    const int rc = pcre2_match(state_->codes[i].get(), reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, 0,
                               data, context);
    pcre2_match_data_free(data);
    if (rc >= 0) found = i;
  }
  pcre2_match_context_free(context);
  return found;
}

}  // namespace gridquant::stages
