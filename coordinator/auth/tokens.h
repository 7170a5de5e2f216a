// Bearer tokens: who holds one and what it allows. The coordinator's file has a line per token with the digest of the
// token, never the token:
//
//     # role     name   digest
//     operator   alice  sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
//     viewer     board  sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9
//
// A token is random (gridquant token makes them), so that a plain digest is as good as a slow one. To revoke it, remove
// its line.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace gridquant::auth {

enum class Role { kViewer, kOperator };  // a viewer looks; an operator also changes

struct TokenOwner {
  std::string name;
  Role role = Role::kViewer;
};

class TokenTable {
 public:
  // InvalidArgument names the line.
  static StatusOr<TokenTable> parse(const std::string& text);
  const TokenOwner* find(std::string_view token) const;  // null: nobody's
  size_t size() const { return by_digest_.size(); }

 private:
  std::map<std::string, TokenOwner, std::less<>> by_digest_;
};

struct NewToken {
  std::string token;  // for its owner, who keeps it in a file
  std::string line;   // for the coordinator's file
};
NewToken make_token(Role role, const std::string& name);

// The token in a client's file: its one line. InvalidArgument if there is none or more than that.
StatusOr<std::string> read_token(const std::string& text);

}  // namespace gridquant::auth
