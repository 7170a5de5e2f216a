// See tokens.h.
#include "coordinator/auth/tokens.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/certificate.h"
#include "engine/base/digest.h"

namespace gridquant::auth {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr size_t kDigestDigits = 64;

StatusOr<std::string> read_digest(std::string_view word) {
  const bool named = word.starts_with("sha256:");
  if (named) word.remove_prefix(7);
  const bool digits = named && word.size() == kDigestDigits &&
                      std::all_of(word.begin(), word.end(), [](unsigned char c) { return absl::ascii_isxdigit(c); });
  if (!digits) return absl::InvalidArgumentError("the third word must be sha256: and 64 hexadecimal digits");
  return absl::AsciiStrToLower(std::string(word));
}

}  // namespace

StatusOr<TokenTable> TokenTable::parse(const std::string& text) {
  TokenTable table;
  int number = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const auto wrong = [&](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", what));
    };
    std::istringstream content(line.substr(0, line.find('#')));
    const std::vector<std::string> words{std::istream_iterator<std::string>(content), {}};
    if (words.empty()) continue;
    if (words.size() != 3) return wrong("a line is a role, a name and a digest");
    if (words[0] != "viewer" && words[0] != "operator") return wrong("the first word must be viewer or operator");
    const StatusOr<std::string> digest = read_digest(words[2]);
    if (!digest.ok()) return wrong(std::string(digest.status().message()));
    const TokenOwner owner{.name = words[1], .role = words[0] == "operator" ? Role::kOperator : Role::kViewer};
    if (!table.by_digest_.emplace(*digest, owner).second) return wrong("this digest is there already");
  }
  return table;
}

const TokenOwner* TokenTable::find(std::string_view token) const {
  const auto found = by_digest_.find(base::digest_of(token));
  return found == by_digest_.end() ? nullptr : &found->second;
}

NewToken make_token(Role role, const std::string& name) {
  const std::string token = "gq_" + base::random_hex(kTokenBytes);
  return {token,
          absl::StrCat(role == Role::kOperator ? "operator " : "viewer ", name, " sha256:", base::digest_of(token))};
}

StatusOr<std::string> read_token(const std::string& text) {
  const std::string token(absl::StripAsciiWhitespace(text));
  const bool one_word =
      !token.empty() && std::all_of(token.begin(), token.end(), [](unsigned char c) { return absl::ascii_isgraph(c); });
  if (!one_word) return absl::InvalidArgumentError("a token file has one line: the token");
  return token;
}

}  // namespace gridquant::auth
