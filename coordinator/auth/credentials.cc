// See credentials.h.
#include "coordinator/auth/credentials.h"

#include <map>
#include <utility>

#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/auth/gate.h"
#include "engine/base/certificate.h"

namespace gridquant::auth {
namespace {

namespace tls = grpc::experimental;

constexpr char kAuthorization[] = "authorization";

std::string first_of(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

// Puts the Gate before every method of a server, whatever services it has.
class GateProcessor final : public grpc::AuthMetadataProcessor {
 public:
  explicit GateProcessor(GateOptions options) : gate_(std::move(options), base::posix_env(), base::system_clock()) {}

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context, OutputMetadata* consumed,
                       OutputMetadata*) override {
    Caller caller{.certificates = {}, .authorization = first_of(metadata, kAuthorization)};
    // The certificate itself comes first: on a server OpenSSL's chain is what was sent beside it.
    for (const char* property : {GRPC_X509_PEM_CERT_PROPERTY_NAME, GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME}) {
      const std::vector<grpc::string_ref> values = context->FindPropertyValues(property);
      if (values.empty()) break;  // no certificate: what stands in a chain is nobody's
      caller.certificates.append(values.front().data(), values.front().size());
    }
    if (!caller.authorization.empty()) consumed->emplace(kAuthorization, caller.authorization);
    const Status admitted = gate_.admit(first_of(metadata, ":path"), caller);
    if (admitted.ok()) return grpc::Status::OK;
    return {static_cast<grpc::StatusCode>(admitted.code()), std::string(admitted.message())};  // the same numbers
  }

 private:
  Gate gate_;
};

// The token of a file, read for every call: a new one counts at once.
class TokenPlugin final : public grpc::MetadataCredentialsPlugin {
 public:
  explicit TokenPlugin(std::string path) : path_(std::move(path)) {}
  grpc::Status GetMetadata(grpc::string_ref, grpc::string_ref, const grpc::AuthContext&,
                           std::multimap<std::string, std::string>* metadata) override {
    const StatusOr<std::string> text = base::read_file(base::posix_env(), path_);
    const StatusOr<std::string> token = text.ok() ? read_token(*text) : text.status();
    if (!token.ok()) {
      return {grpc::StatusCode::UNAUTHENTICATED, absl::StrCat(path_, ": ", token.status().message())};
    }
    metadata->emplace(kAuthorization, "Bearer " + *token);
    return grpc::Status::OK;
  }

 private:
  const std::string path_;
};

StatusOr<std::string> read_option(const std::string& path, const char* option) {
  StatusOr<std::string> text = base::read_file(base::posix_env(), path);
  if (text.ok()) return text;
  return Status(text.status().code(), absl::StrCat(option, ": ", text.status().message()));
}

// The files as they are now; later ones are only as good as whoever puts them there.
Status check_identity(const TlsFiles& files) {
  if (files.certificate.empty() || files.key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together: the certificate and its private key");
  }
  GQ_ASSIGN_OR_RETURN(const std::string certificate, read_option(files.certificate, "--tls-cert"));
  GQ_ASSIGN_OR_RETURN(const std::string key, read_option(files.key, "--tls-key"));
  const StatusOr<base::CertificateInfo> info = base::read_certificate(certificate);
  if (!info.ok()) return annotate(info.status(), absl::StrCat("--tls-cert: ", files.certificate));
  GQ_RETURN_IF_ERROR(annotate(base::check_key_pair(certificate, key), absl::StrCat("--tls-key: ", files.key)));
  const int64_t now = base::system_clock().wall_ms() / 1000;
  const auto show = [](int64_t seconds) {
    return absl::FormatTime("%Y-%m-%d %H:%M UTC", absl::FromUnixSeconds(seconds), absl::UTCTimeZone());
  };
  if (now >= info->not_after_s) {
    return absl::FailedPreconditionError(absl::StrCat("--tls-cert: ", files.certificate, ": the certificate ended on ",
                                                      show(info->not_after_s), ": renew it"));
  }
  if (now < info->not_before_s) {
    return absl::FailedPreconditionError(absl::StrCat("--tls-cert: ", files.certificate, ": the certificate begins on ",
                                                      show(info->not_before_s), ": is this machine's clock right?"));
  }
  return absl::OkStatus();
}

Status check_ca(const TlsFiles& files) {
  GQ_ASSIGN_OR_RETURN(const std::string ca, read_option(files.ca, "--tls-ca"));
  return annotate(base::read_certificate(ca).status(), absl::StrCat("--tls-ca: ", files.ca));
}

Status check_server(const ServerSecurity& security, const std::string& address) {
  if (security.tls.any()) {
    if (security.insecure) return absl::InvalidArgumentError("--insecure-listen and --tls-... exclude each other");
    if (security.tls.ca.empty()) {
      return absl::InvalidArgumentError("--tls-ca is missing: the authority that signs client certificates");
    }
    GQ_RETURN_IF_ERROR(check_identity(security.tls));
    GQ_RETURN_IF_ERROR(check_ca(security.tls));
  } else if (!is_loopback(address)) {
    if (!security.insecure) {
      return absl::InvalidArgumentError(
          absl::StrCat("--listen ", address, " can be reached from other machines: give --tls-cert, --tls-key and ",
                       "--tls-ca, or say --insecure-listen if everybody on this network may do everything"));
    }
    if (!security.token_file.empty()) {
      return absl::InvalidArgumentError(
          "--token-file needs TLS (--tls-cert, --tls-key, --tls-ca) or a loopback address: tokens would go over the "
          "network in the clear");
    }
  }
  if (security.token_file.empty()) return absl::OkStatus();
  GQ_ASSIGN_OR_RETURN(const std::string tokens, read_option(security.token_file, "--token-file"));
  return annotate(TokenTable::parse(tokens).status(), absl::StrCat("--token-file: ", security.token_file));
}

Status check_address(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  const bool fits = colon != std::string::npos && colon > 0 && absl::SimpleAtoi(address.substr(colon + 1), &port);
  if (fits && port > 0 && port < 65'536) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the coordinator's address is HOST:PORT, such as localhost:7733, not '", address,
                   "' (--coordinator, GRIDQUANT_COORDINATOR)"));
}

}  // namespace

bool is_loopback(const std::string& address) {
  if (address.starts_with("unix:")) return true;
  std::string_view host = address;
  const size_t colon = host.rfind(':');
  if (host.starts_with("[")) {
    host = host.substr(1, host.find(']') - 1);
  } else if (colon != std::string_view::npos && host.find(':') == colon) {
    host = host.substr(0, colon);
  }
  const bool number = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return host == "localhost" || host == "::1" || (number && host.starts_with("127."));
}

StatusOr<std::shared_ptr<grpc::ServerCredentials>> server_credentials(const ServerSecurity& security,
                                                                      const std::string& address) {
  GQ_RETURN_IF_ERROR(check_server(security, address));
  GateOptions gate{
      .ca_file = security.tls.ca, .token_file = security.token_file, .reload_ms = int64_t{1000} * security.reload_s};
  std::shared_ptr<grpc::ServerCredentials> credentials;
  if (security.tls.any()) {
    tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
        security.tls.key, security.tls.certificate, static_cast<unsigned>(security.reload_s)));
    options.watch_identity_key_cert_pairs();
    // The handshake proves that the key is the certificate's; the Gate verifies the certificate. A handshake that fails
    // could not say why, and a call can.
    options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
    credentials = tls::TlsServerCredentials(options);
  } else if (!security.token_file.empty()) {
    credentials = tls::LocalServerCredentials(LOCAL_TCP);
  } else {
    return grpc::InsecureServerCredentials();
  }
  credentials->SetAuthMetadataProcessor(std::make_shared<GateProcessor>(std::move(gate)));
  return credentials;
}

StatusOr<std::shared_ptr<grpc::ChannelCredentials>> channel_credentials(const ClientSecurity& security,
                                                                        const std::string& address) {
  if (address != kManyServers) GQ_RETURN_IF_ERROR(check_address(address));
  const bool has_token = !security.token_file.empty();
  if (has_token) {
    GQ_ASSIGN_OR_RETURN(const std::string text, read_option(security.token_file, "--token-file"));
    GQ_RETURN_IF_ERROR(annotate(read_token(text).status(), absl::StrCat("--token-file: ", security.token_file)));
  }
  std::shared_ptr<grpc::ChannelCredentials> channel;
  if (security.tls.any()) {
    if (security.tls.ca.empty()) {
      return absl::InvalidArgumentError("--tls-ca is missing: the authority that signs the server's certificate");
    }
    GQ_RETURN_IF_ERROR(check_ca(security.tls));
    const bool identity = !security.tls.certificate.empty() || !security.tls.key.empty();
    if (identity) GQ_RETURN_IF_ERROR(check_identity(security.tls));
    tls::TlsChannelCredentialsOptions options;
    options.set_certificate_provider(std::make_shared<tls::FileWatcherCertificateProvider>(
        security.tls.key, security.tls.certificate, security.tls.ca, static_cast<unsigned>(security.reload_s)));
    options.watch_root_certs();
    if (identity) options.watch_identity_key_cert_pairs();
    channel = tls::TlsCredentials(options);
    if (!has_token) return channel;
    return grpc::CompositeChannelCredentials(
        channel, grpc::MetadataCredentialsFromPlugin(std::make_unique<TokenPlugin>(security.token_file)));
  }
  if (!has_token) return grpc::InsecureChannelCredentials();
  if (!is_loopback(address)) {
    return absl::InvalidArgumentError(absl::StrCat("the token would go to ", address,
                                                   " in the clear: give --tls-ca, the authority that signs the "
                                                   "coordinator's certificate"));
  }
  // gRPC itself refuses a peer that is not on this machine.
  return grpc::CompositeChannelCredentials(
      tls::LocalCredentials(LOCAL_TCP),
      tls::MetadataCredentialsFromPlugin(std::make_unique<TokenPlugin>(security.token_file), GRPC_SECURITY_NONE));
}

}  // namespace gridquant::auth
