// The gRPC channel to a coordinator: keepalive, reconnection, message limits. Opening one does not wait: the first call
// finds out whether somebody is there.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

namespace gridquant::client {

// A cut link is seen within kKeepaliveMs + kKeepaliveTimeoutMs; the server permits pings this often.
inline constexpr int kKeepaliveMs = 10'000;
inline constexpr int kKeepaliveTimeoutMs = 5'000;
inline constexpr int kMaxMessageBytes = 64 << 20;  // a run of 10,000 stages

// `address` is HOST:PORT. No proxy of the environment is used: the coordinator is reached directly or not at all.
std::shared_ptr<grpc::Channel> make_channel(const std::string& address,
                                            const std::shared_ptr<grpc::ChannelCredentials>& credentials);

}  // namespace gridquant::client
