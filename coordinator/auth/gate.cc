// See gate.h.
#include "coordinator/auth/gate.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/certificate.h"

namespace gridquant::auth {
namespace {

constexpr std::string_view kPipelines = "/gridquant.v1.PipelineService/";
constexpr std::string_view kNodes = "/gridquant.v1.NodeService/";
constexpr std::string_view kAgents = "/gridquant.v1.AgentService/";

using Entry = std::pair<std::string_view, Access>;
constexpr std::array kPipelineMethods = {
    Entry{"Submit", Access::kOperator},         Entry{"Validate", Access::kViewer},
    Entry{"GetRun", Access::kViewer},           Entry{"ListRuns", Access::kViewer},
    Entry{"WatchRun", Access::kViewer},         Entry{"ReadLogs", Access::kViewer},
    Entry{"CancelRun", Access::kOperator},      Entry{"RetryRun", Access::kOperator},
    Entry{"PauseRun", Access::kOperator},       Entry{"ResumeRun", Access::kOperator},
    Entry{"ExplainRun", Access::kViewer},       Entry{"DeleteRun", Access::kOperator},
    Entry{"CollectGarbage", Access::kOperator}, Entry{"GetBatch", Access::kViewer},
    Entry{"SetQueue", Access::kOperator},       Entry{"ListQueues", Access::kViewer},
};
constexpr std::array kNodeMethods = {
    Entry{"Session", Access::kOperator},
    Entry{"ListNodes", Access::kViewer},
    Entry{"DrainNode", Access::kOperator},
    Entry{"UndrainNode", Access::kOperator},
    Entry{"ForgetNode", Access::kOperator},
};
constexpr std::array kAgentMethods = {Entry{"RunDaemon", Access::kOperator}};

// Abseil's is for its own string_view.
bool consume(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

std::optional<Access> look_up(std::string_view method) {
  const auto in = [](const auto& table, std::string_view name) -> std::optional<Access> {
    const auto found = std::find_if(table.begin(), table.end(), [&](const Entry& one) { return one.first == name; });
    return found == table.end() ? std::nullopt : std::optional(found->second);
  };
  if (consume(&method, kPipelines)) return in(kPipelineMethods, method);
  if (consume(&method, kNodes)) return in(kNodeMethods, method);
  if (consume(&method, kAgents)) return in(kAgentMethods, method);
  if (method.starts_with("/grpc.health.v1.Health/")) return Access::kAnybody;
  if (method.starts_with("/grpc.reflection.")) return Access::kViewer;
  return std::nullopt;
}

}  // namespace

Access access_of(std::string_view method) {
  return look_up(method).value_or(Access::kOperator);
}
bool is_listed(std::string_view method) {
  return look_up(method).has_value();
}

Gate::Gate(GateOptions options, base::Env& env, base::Clock& clock)
    : options_(std::move(options)), env_(env), clock_(clock) {}

StatusOr<std::string> Gate::file(const std::string& path, Cached& cached) {
  const int64_t now = clock_.monotonic_ms();
  if (cached.read_ms == 0 || now - cached.read_ms >= options_.reload_ms || !cached.text.ok()) {
    cached.text = base::read_file(env_, path);
    cached.read_ms = std::max<int64_t>(now, 1);
  }
  if (cached.text.ok()) return *cached.text;
  return absl::UnavailableError(
      absl::StrCat("the server cannot read its own file just now: ", cached.text.status().message()));
}

Status Gate::refuse_nobody() const {
  std::string how = options_.token_file.empty() ? "" : "a token (--token-file FILE, or GRIDQUANT_TOKEN_FILE)";
  if (!options_.ca_file.empty()) {
    absl::StrAppend(&how, how.empty() ? "" : " or ", "a client certificate (--tls-cert FILE --tls-key FILE)");
  }
  return absl::UnauthenticatedError("the server wants to know who calls: pass " + how);
}

StatusOr<TokenOwner> Gate::by_token(std::string_view token) {
  if (options_.token_file.empty()) {
    return absl::UnauthenticatedError(
        "the server knows no tokens (it was started without --token-file): use a client certificate");
  }
  std::string text;
  {
    absl::MutexLock lock(&mutex_);
    GQ_ASSIGN_OR_RETURN(text, file(options_.token_file, tokens_));
  }
  const StatusOr<TokenTable> table = TokenTable::parse(text);
  if (!table.ok()) {
    return absl::UnavailableError(absl::StrCat("the server's token file has an error, ", table.status().message(),
                                               ": until it is mended no token counts"));
  }
  const TokenOwner* owner = table->find(token);
  if (owner == nullptr) {
    return absl::UnauthenticatedError(
        "the token is not valid: it was revoked, or is for another coordinator; ask its operator for a new one "
        "(gridquant token)");
  }
  return *owner;
}

StatusOr<TokenOwner> Gate::by_certificate(const std::string& certificates) {
  std::string roots;
  {
    absl::MutexLock lock(&mutex_);
    GQ_ASSIGN_OR_RETURN(roots, file(options_.ca_file, ca_));
  }
  const Status verified = base::verify_client_certificate(certificates, roots);
  if (!verified.ok()) {
    return absl::UnauthenticatedError(absl::StrCat("the server does not accept the client certificate ",
                                                   verified.message(), ": use one that is valid now and signed by ",
                                                   "the server's own authority (its --tls-ca)"));
  }
  GQ_ASSIGN_OR_RETURN(const base::CertificateInfo info, base::read_certificate(certificates));
  return TokenOwner{.name = info.subject, .role = Role::kOperator};
}

StatusOr<TokenOwner> Gate::who(const Caller& caller) {
  std::string_view authorization = caller.authorization;
  if (!authorization.empty()) {
    if (!consume(&authorization, "Bearer ")) {
      return absl::UnauthenticatedError("authorization must be a bearer token");
    }
    return by_token(authorization);
  }
  if (!caller.certificates.empty() && !options_.ca_file.empty()) return by_certificate(caller.certificates);
  return refuse_nobody();
}

Status Gate::admit(std::string_view method, const Caller& caller) {
  const Access access = access_of(method);
  if (access == Access::kAnybody) return absl::OkStatus();
  GQ_ASSIGN_OR_RETURN(const TokenOwner owner, who(caller));
  if (access == Access::kOperator && owner.role != Role::kOperator) {
    return absl::PermissionDeniedError(
        absl::StrCat(owner.name, " may look and not change: ", std::string(method.substr(method.rfind('/') + 1)),
                     " needs the token of an operator"));
  }
  return absl::OkStatus();
}

}  // namespace gridquant::auth
