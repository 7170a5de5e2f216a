// Brings attempts' logs to the coordinator in numbered pieces: what the next one is, from which byte. Sends nothing
// itself. A piece begins where the coordinator's file ends; every piece is answered by how far it is; where that is
// not what the piece should have led to, something was lost, and the relay goes back. Used from one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "engine/base/env.h"

namespace gridquant::node {

struct LogPiece {
  uint64_t epoch = 0;
  std::string log_name{};
  uint64_t offset = 0;
  std::string data{};
  bool last = false;
};

class LogRelay {
 public:
  static constexpr size_t kPieceBytes = 64 * 1024;
  static constexpr uint64_t kMaxUnacknowledged = 256 * 1024;  // of one attempt
  static constexpr size_t kMaxEnded = 1'000;                  // logs that wait for the coordinator; the oldest goes

  explicit LogRelay(base::Env& env) : env_(env) {}

  void add(uint64_t epoch, std::string log_name, std::string path);
  void end(uint64_t epoch);  // nothing more will be written to it
  void acknowledged(uint64_t epoch, uint64_t offset);
  void reconnected();  // whatever was sent and not acknowledged may be lost

  // The next pieces, at most `limit`. The caller sends them all, in this order.
  std::vector<LogPiece> next(size_t limit);
  // Ended ones that the coordinator has whole (or that had to go), once each: their files are not needed any more.
  std::vector<uint64_t> finished();

 private:
  struct Log {
    std::string name{}, path{};
    uint64_t acknowledged = 0, sent = 0;
    std::deque<uint64_t> expected{};  // acknowledgements of what is under way, in their order
    bool ended = false, last_sent = false, done = false;
  };
  bool next_piece(uint64_t epoch, Log& log, std::vector<LogPiece>& pieces);

  base::Env& env_;
  std::map<uint64_t, Log> logs_;
};

}  // namespace gridquant::node
