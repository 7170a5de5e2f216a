// Errors of calls as absl::Status: the canonical code, one message for people, and what the coordinator said beside it.
#pragma once

#include <optional>
#include <string>

#include "engine/base/status.h"
#include "gridquant/v1/error.pb.h"

namespace grpc {
class Status;
}

namespace gridquant::client {

// Diagnostics and the hint that came with the error; nothing if there were none.
std::optional<v1::ErrorDetail> error_detail(const Status& status);

// Whether trying again may help: nobody answered, or not in time.
bool is_retryable(const Status& status);

// `address` is named where nobody answered.
Status from_grpc(const grpc::Status& status, const std::string& address);

}  // namespace gridquant::client
