// Every limit of the coordinator's network side, in one place.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gridquant::rpc {

inline constexpr int kMaxReceiveBytes = 16 << 20;  // one message from a client or node
inline constexpr int kMaxSendBytes = 64 << 20;     // one message to them: a run of 10,000 stages
inline constexpr size_t kMaxFileBytes = 1 << 20;   // a pipeline or batch file
inline constexpr size_t kMaxParams = 1'000;
inline constexpr size_t kMaxRequestId = 128;
inline constexpr size_t kMaxLogChunkBytes = 64 << 10;
inline constexpr size_t kMaxAttemptsInReport = 10'000;
inline constexpr size_t kMaxLabels = 100;
inline constexpr size_t kMaxNodeName = 253;  // as a host's
// Error details travel in a trailer: clients refuse more than 8 KiB of trailers, in base64.
inline constexpr size_t kMaxDetailBytes = 4'000;
inline constexpr size_t kMaxMessageBytes = 1'000;

// Keepalive: a cut link is seen within kKeepaliveMs + kKeepaliveTimeoutMs, and clients may ping as often.
inline constexpr int kKeepaliveMs = 10'000;
inline constexpr int kKeepaliveTimeoutMs = 5'000;
inline constexpr int kMinPingIntervalMs = 5'000;

inline constexpr int64_t kLongestDrainMs = 10'000LL * 86'400'000;  // as a file's longest duration
inline constexpr int kDefaultPage = 100;
inline constexpr int kMaxPage = 1'000;
inline constexpr int64_t kFollowMs = 200;      // between two looks at a log that is followed
inline constexpr int64_t kLogGraceMs = 5'000;  // for the rest of a log after its attempt's end
inline constexpr int64_t kStopMs = 500;        // for open calls when the coordinator stops

}  // namespace gridquant::rpc
