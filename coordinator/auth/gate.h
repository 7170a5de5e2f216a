// Who may call what: every call to a server that does not trust everybody passes here first. Certificates' authorities
// and tokens are read again from their files, so that a removed line or a changed authority counts within seconds.
//
// Without gRPC: a method is its path ("/gridquant.v1.PipelineService/Submit"), a caller what it presented.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/auth/tokens.h"
#include "engine/base/clock.h"
#include "engine/base/env.h"

namespace gridquant::auth {

enum class Access { kAnybody, kViewer, kOperator };

// A method that is not known is an operator's.
Access access_of(std::string_view method);
bool is_listed(std::string_view method);  // for the test that none was forgotten

struct Caller {
  std::string certificates;   // PEM, as presented in the handshake, which has proved that the key is theirs; or ""
  std::string authorization;  // "Bearer <token>", or ""
};

struct GateOptions {
  std::string ca_file;     // of client certificates; "": none is accepted
  std::string token_file;  // "": no token is accepted
  int64_t reload_ms = 2'000;
};

// Thread-safe. A verified certificate of the cluster's own authority makes an operator: whoever has one is a machine of
// the cluster, or was given one on purpose. Viewers have tokens.
class Gate {
 public:
  Gate(GateOptions options, base::Env& env, base::Clock& clock);

  // Unauthenticated: nobody, or not who it says; PermissionDenied: not allowed; Unavailable: a file of ours cannot be
  // read just now (then nobody is let in). The message says what to do.
  Status admit(std::string_view method, const Caller& caller);

 private:
  struct Cached {
    int64_t read_ms = 0;
    StatusOr<std::string> text = absl::UnavailableError("");
  };
  StatusOr<TokenOwner> who(const Caller& caller);
  StatusOr<TokenOwner> by_token(std::string_view token);
  StatusOr<TokenOwner> by_certificate(const std::string& certificates);
  Status refuse_nobody() const;
  StatusOr<std::string> file(const std::string& path, Cached& cached) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const GateOptions options_;
  base::Env& env_;
  base::Clock& clock_;
  absl::Mutex mutex_;
  Cached ca_ ABSL_GUARDED_BY(mutex_), tokens_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gridquant::auth
