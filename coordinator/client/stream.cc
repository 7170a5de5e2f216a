// The cursors.
#include "coordinator/client/stream.h"

namespace gridquant::client {

StatusOr<bool> WatchCursor::take(Message& message) {
  if (!message.has_event()) return message.has_progress();
  const uint64_t sequence = message.event().sequence();
  const uint64_t last = request_.after_sequence();
  if (sequence <= last) return false;
  if (sequence != last + 1) {
    return absl::DataLossError("the coordinator left out events of run " + request_.run() + ": after number " +
                               std::to_string(last) + " came " + std::to_string(sequence));
  }
  request_.set_after_sequence(sequence);
  return true;
}

StatusOr<bool> LogCursor::take(Message& message) {
  const auto [at, first] = have_.try_emplace({message.stage(), message.attempt()}, message.offset());
  uint64_t& have = at->second;  // with tail_bytes a log begins in its middle
  const uint64_t end = message.offset() + message.data().size();
  if (message.offset() > have) {
    return absl::DataLossError("the coordinator left out bytes " + std::to_string(have) + " to " +
                               std::to_string(message.offset()) + " of the log of stage " + message.stage());
  }
  if (end <= have && !first) return false;
  message.mutable_data()->erase(0, have - message.offset());
  message.set_offset(have);
  have = end;
  return !message.data().empty();
}

}  // namespace gridquant::client
