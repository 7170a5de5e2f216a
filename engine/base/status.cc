#include "engine/base/status.h"

namespace gridquant {

ExitCode exit_code_for(const Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kDone;
    case absl::StatusCode::kInvalidArgument:
      return ExitCode::kParameters;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
      return ExitCode::kInput;
    case absl::StatusCode::kUnimplemented:
      return ExitCode::kUnsupported;
    case absl::StatusCode::kInternal:
      return ExitCode::kInvariant;
    case absl::StatusCode::kDataLoss:
      return ExitCode::kCorruption;
    case absl::StatusCode::kResourceExhausted:
      return ExitCode::kNoSpace;
    case absl::StatusCode::kCancelled:
      return ExitCode::kCancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return ExitCode::kTimeout;
    case absl::StatusCode::kAborted:
      return ExitCode::kPeerLost;
    default:
      return ExitCode::kIo;
  }
}

FailureClass failure_class_for(int exit_code) {
  if (exit_code == static_cast<int>(ExitCode::kCorruption)) return FailureClass::kCorruption;
  return exit_code < 128 ? FailureClass::kUser : FailureClass::kInfrastructure;
}

bool is_io_trouble(const Status& status) {
  return absl::IsUnavailable(status) || absl::IsPermissionDenied(status) || absl::IsResourceExhausted(status);
}

Status annotate(const Status& status, const std::string& context) {
  if (status.ok()) return status;
  return Status(status.code(), context + ": " + std::string(status.message()));
}

}  // namespace gridquant
