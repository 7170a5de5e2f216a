// Errors as gRPC carries them: canonical code, message, and our details in the trailer (error.proto).
#pragma once

#include <string>
#include <vector>

#include <grpcpp/support/status.h>

#include "coordinator/spec/spec.h"
#include "engine/base/status.h"
#include "gridquant/v1/error.pb.h"

namespace gridquant::rpc {

// Of a file with many mistakes only as many are carried as a trailer holds; Validate gives them all.
grpc::Status to_grpc(const Status& status, const std::vector<spec::Diagnostic>& diagnostics = {},
                     const std::string& hint = "");

void to_proto(const spec::Diagnostic& from, v1::Diagnostic& to);

// Text of workers and files, which may be anything, as UTF-8: gRPC refuses other text in fields of type string.
std::string utf8(std::string text);

// Printable ASCII, 1 to kMaxRequestId characters; InvalidArgument if not.
Status check_request_id(const std::string& id);

}  // namespace gridquant::rpc
