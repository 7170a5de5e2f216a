// See errors.h.
#include "coordinator/rpc/errors.h"

#include <algorithm>

#include "coordinator/rpc/limits.h"

namespace gridquant::rpc {
namespace {

// The message goes over the wire percent-encoded: not longer than kMaxMessageBytes, cut where a character begins.
std::string shortened(std::string text) {
  if (text.size() <= kMaxMessageBytes) return text;
  size_t end = kMaxMessageBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

}  // namespace

std::string utf8(std::string text) {
  const nlohmann::json quoted = text;
  return nlohmann::json::parse(quoted.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void to_proto(const spec::Diagnostic& from, v1::Diagnostic& to) {
  to.set_code(from.code);
  to.set_file(utf8(from.file));
  to.set_line(from.line);
  to.set_column(from.column);
  to.set_length(from.length);
  to.set_message(utf8(from.message));
  to.set_hint(utf8(from.hint));
}

grpc::Status to_grpc(const Status& status, const std::vector<spec::Diagnostic>& diagnostics, const std::string& hint) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());  // the same numbers
  const std::string message = shortened(utf8(std::string(status.message())));
  v1::ErrorDetail detail;
  detail.set_hint(hint);
  for (const spec::Diagnostic& diagnostic : diagnostics) {
    to_proto(diagnostic, *detail.add_diagnostics());
    if (detail.ByteSizeLong() <= kMaxDetailBytes) continue;
    detail.mutable_diagnostics()->RemoveLast();
    break;
  }
  if (detail.diagnostics().empty() && hint.empty()) return {code, message};
  v1::Status full;
  full.set_code(static_cast<int>(code));
  full.set_message(message);
  full.add_details()->PackFrom(detail);
  return {code, message, full.SerializeAsString()};
}

Status check_request_id(const std::string& id) {
  if (id.empty()) return absl::InvalidArgumentError("request_id is missing: it makes the call safe to repeat");
  const bool printable = std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 127; });
  if (id.size() > kMaxRequestId || !printable) {
    return absl::InvalidArgumentError("request_id must be 1 to " + std::to_string(kMaxRequestId) +
                                      " printable characters without spaces");
  }
  return absl::OkStatus();
}

}  // namespace gridquant::rpc
