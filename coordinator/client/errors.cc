// See errors.h.
#include "coordinator/client/errors.h"

#include <grpcpp/support/status.h>

#include "absl/strings/cord.h"

namespace gridquant::client {
namespace {

constexpr const char* kDetailUrl = "type.googleapis.com/gridquant.v1.ErrorDetail";

// A connection that TLS refused shows as "unavailable"; no waiting helps, so it is told apart.
std::optional<Status> tls_problem(const grpc::Status& status, const std::string& address) {
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return std::nullopt;
  const std::string& text = status.error_message();
  const auto says = [&](const char* words) { return text.find(words) != std::string::npos; };
  if (says("certificate verify failed") || says("Hostname Verification Check failed")) {
    return absl::UnauthenticatedError("the coordinator at " + address +
                                      " does not prove who it is: its certificate is not signed by --tls-ca, is not "
                                      "valid now, or is for another name [" +
                                      text + "]");
  }
  if (says("wrong version number")) {
    return absl::FailedPreconditionError("the coordinator at " + address +
                                         " speaks no TLS: leave the TLS options out (" +
                                         "--tls-ca, GRIDQUANT_TLS_CA), or start it with a certificate [" + text + "]");
  }
  return std::nullopt;
}

std::string bracketed(const std::string& text) {
  return text.empty() ? "" : " [" + text + "]";
}

std::string message_of(const grpc::Status& status, const std::string& address) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return "the coordinator at " + address +
             " cannot be reached: is it running (gridquant coordinator), and does it want TLS (--tls-ca)?" +
             bracketed(status.error_message());
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "the coordinator at " + address + " did not answer in time" + bracketed(status.error_message());
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      if (status.error_message().find("larger than max") == std::string::npos) return status.error_message();
      return "a message to or from the coordinator at " + address + " is too large" +
             bracketed(status.error_message());
    case grpc::StatusCode::UNIMPLEMENTED:
      return "what answers at " + address + " cannot do that: it is no coordinator, or one of another version" +
             bracketed(status.error_message());
    default:
      return status.error_message().empty() ? "the coordinator at " + address + " gave no reason"
                                            : status.error_message();
  }
}

}  // namespace

std::optional<v1::ErrorDetail> error_detail(const Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kDetailUrl);
  v1::ErrorDetail detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

bool is_retryable(const Status& status) {
  return status.code() == absl::StatusCode::kUnavailable || status.code() == absl::StatusCode::kDeadlineExceeded;
}

Status from_grpc(const grpc::Status& status, const std::string& address) {
  if (status.ok()) return absl::OkStatus();
  if (const auto problem = tls_problem(status, address)) return *problem;
  Status error(static_cast<absl::StatusCode>(status.error_code()), message_of(status, address));  // the same numbers
  v1::Status more;
  if (status.error_details().empty() || !more.ParseFromString(status.error_details())) return error;
  for (const google::protobuf::Any& any : more.details()) {
    if (any.type_url() == kDetailUrl) error.SetPayload(kDetailUrl, absl::Cord(any.value()));
  }
  return error;
}

}  // namespace gridquant::client
