// Errors: absl::Status everywhere, two macros, and how a status becomes a process's exit code.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace gridquant {

using absl::Status;
using absl::StatusOr;

// What a failure means to whoever must decide what happens next.
enum class FailureClass {
  kUser,            // input, parameters, configuration, disk full: never retried
  kInfrastructure,  // a peer, a process, a disk or a deadline failed: retried with back-off
  kCorruption,      // stored bytes differ from their digest: the input is made again
};

// Exit codes of gridquant-worker. Below 128 permanent, 128 and above retryable (the split that Kubernetes pod failure
// policies and MPIJob use).
enum class ExitCode : int {
  kDone = 0,
  kInput = 10,        // a model, text or other input is malformed or missing
  kParameters = 11,   // a parameter cannot work
  kUnsupported = 12,  // known, but not something this build can do
  kInvariant = 13,    // a bug in gridquant
  kCorruption = 14,   // an artifact does not match its digest
  kNoSpace = 15,      // disk full: free some, then run again
  kCancelled = 130,   // asked to stop
  kTimeout = 131,
  kIo = 132,
  kPeerLost = 133,
};

// kInvalidArgument -> kParameters, kNotFound / kOutOfRange / kFailedPrecondition / kPermissionDenied -> kInput,
// kUnimplemented -> kUnsupported, kInternal -> kInvariant, kDataLoss -> kCorruption, kResourceExhausted -> kNoSpace,
// kCancelled -> kCancelled, kDeadlineExceeded -> kTimeout, kAborted -> kPeerLost, anything else -> kIo.
ExitCode exit_code_for(const Status& status);

// The class of a worker's exit code; codes not in the table (a signal shows as 128 + its number) are infrastructure.
FailureClass failure_class_for(int exit_code);

// Something failed for a reason that says nothing about the content that was asked for, and may go away: an I/O error,
// too many open files, a missing right, no space.
bool is_io_trouble(const Status& status);

// The status with `context` and ": " put before its message, code unchanged. OK stays OK.
Status annotate(const Status& status, const std::string& context);

}  // namespace gridquant

#define GQ_RETURN_IF_ERROR(expr)                 \
  do {                                           \
    ::absl::Status gq_status_ = (expr);          \
    if (!gq_status_.ok()) return gq_status_;     \
  } while (false)

#define GQ_CONCAT_INNER_(a, b) a##b
#define GQ_CONCAT_(a, b) GQ_CONCAT_INNER_(a, b)
#define GQ_ASSIGN_OR_RETURN(lhs, expr) GQ_ASSIGN_OR_RETURN_IMPL_(GQ_CONCAT_(gq_result_, __LINE__), lhs, expr)
#define GQ_ASSIGN_OR_RETURN_IMPL_(result, lhs, expr) \
  auto result = (expr);                              \
  if (!result.ok()) return result.status();          \
  lhs = std::move(result).value()
