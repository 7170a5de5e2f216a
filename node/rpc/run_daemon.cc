// See run_daemon.h.
#include "node/rpc/run_daemon.h"

#include <chrono>

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>

#include "absl/strings/str_cat.h"
#include "gridquant/v1/agent.grpc.pb.h"

namespace gridquant::node {
namespace {

constexpr std::chrono::seconds kConnectTimeout{10};

}  // namespace

StatusOr<int> run_daemon(const GangTicket& ticket, const std::string& alias, const std::vector<std::string>& arguments,
                         const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                         const std::function<void(const std::string&)>& print) {
  const auto member = ticket.aliases.find(alias);
  if (member == ticket.aliases.end()) {
    return absl::InvalidArgumentError(absl::StrCat("'", alias, "' is no node of this gang"));
  }
  const std::string where = absl::StrCat("node ", member->second.node, " (", member->second.address, ")");
  grpc::ChannelArguments settings;
  settings.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 2'000);
  settings.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3'000);
  settings.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  settings.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto channel = grpc::CreateCustomChannel(member->second.address, credentials, settings);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectTimeout)) {
    return absl::UnavailableError(absl::StrCat(where, ": its agent does not answer"));
  }
  const auto stub = v1::AgentService::NewStub(channel);
  grpc::ClientContext context;  // no deadline: the daemon lives as long as the gang
  const auto stream = stub->RunDaemon(&context);
  v1::RunDaemonRequest request;
  v1::RunDaemonStart& start = *request.mutable_start();
  start.set_epoch(ticket.epoch);
  start.set_lease_secret(ticket.secret);
  start.set_node(member->second.node);
  for (const std::string& argument : arguments) start.add_arguments(argument);
  stream->Write(request);
  int exit_code = -1;
  for (v1::RunDaemonResponse response; stream->Read(&response);) {
    if (response.has_output()) print(response.output());
    if (response.has_error_output()) print(response.error_output());
    if (response.has_exit_code()) exit_code = response.exit_code();
  }
  const grpc::Status status = stream->Finish();
  if (!status.ok()) {
    return Status(static_cast<absl::StatusCode>(status.error_code()),
                  absl::StrCat(where, ": ", status.error_message()));
  }
  if (exit_code < 0) return absl::UnavailableError(absl::StrCat(where, ": the daemon's end was not told"));
  return exit_code;
}

}  // namespace gridquant::node
