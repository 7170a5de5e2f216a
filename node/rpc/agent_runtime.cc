// See agent_runtime.h.
#include "node/rpc/agent_runtime.h"

#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/str_cat.h"
#include "coordinator/auth/credentials.h"
#include "node/rpc/agent_server.h"
#include "node/rpc/session_link.h"

namespace gridquant::node {
namespace {

constexpr int kKeepaliveMs = 3'000, kKeepaliveTimeoutMs = 3'000, kLongestBackoffMs = 2'000;
constexpr int kMaxDesiredBytes = 64 << 20;  // as much as the coordinator sends

std::string address_of(const RuntimeOptions& options, int port) {
  const std::string shown =
      options.advertise.empty() ? options.listen.substr(0, options.listen.rfind(':')) : options.advertise;
  const size_t colon = shown.rfind(':');
  const bool has_port = colon != std::string::npos && shown.find(']', colon) == std::string::npos &&
                        shown.find(':') == (shown.front() == '[' ? shown.find(':') : colon);
  return has_port && !options.advertise.empty() ? shown : absl::StrCat(shown, ":", port);
}

class Runtime final : public AgentRuntime {
 public:
  Runtime(std::unique_ptr<AgentServer> server, std::unique_ptr<SessionLink> link, std::string address)
      : server_(std::move(server)), link_(std::move(link)), address_(std::move(address)) {}
  Uplink& uplink() override { return *link_; }
  const std::string& address() const override { return address_; }

 private:
  std::unique_ptr<AgentServer> server_;
  std::unique_ptr<SessionLink> link_;
  std::string address_;
};

}  // namespace

StatusOr<std::unique_ptr<AgentRuntime>> AgentRuntime::start(const RuntimeOptions& options, Inbox& inbox) {
  if (options.listen.find(':') == std::string::npos) {
    return absl::InvalidArgumentError("--listen must be HOST:PORT, not " + options.listen);
  }
  GQ_ASSIGN_OR_RETURN(const auto server_credentials, auth::server_credentials(options.server_security, options.listen));
  GQ_ASSIGN_OR_RETURN(const auto client_credentials,
                      auth::channel_credentials(options.client_security, options.coordinator));
  GQ_ASSIGN_OR_RETURN(std::unique_ptr<AgentServer> server,
                      AgentServer::start(options.node, options.listen, server_credentials, inbox));
  NodeFacts facts = options.facts;
  facts.agent_address = address_of(options, server->port());
  grpc::ChannelArguments settings;
  settings.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  settings.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  settings.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestBackoffMs);
  settings.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  settings.SetMaxReceiveMessageSize(kMaxDesiredBytes);
  const auto channel = grpc::CreateCustomChannel(options.coordinator, client_credentials, settings);
  std::unique_ptr<SessionLink> link = SessionLink::start(channel, inbox, facts);
  return std::make_unique<Runtime>(std::move(server), std::move(link), facts.agent_address);
}

}  // namespace gridquant::node
