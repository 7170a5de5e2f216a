// See log_relay.h.
#include "node/daemon/log_relay.h"

#include <algorithm>
#include <span>
#include <utility>

namespace gridquant::node {

void LogRelay::add(uint64_t epoch, std::string log_name, std::string path) {
  logs_[epoch] = Log{.name = std::move(log_name), .path = std::move(path)};
}

void LogRelay::end(uint64_t epoch) {
  const auto found = logs_.find(epoch);
  if (found != logs_.end()) found->second.ended = true;
}

void LogRelay::acknowledged(uint64_t epoch, uint64_t offset) {
  const auto found = logs_.find(epoch);
  if (found == logs_.end()) return;
  Log& log = found->second;
  log.acknowledged = offset;
  const auto answered = std::find(log.expected.rbegin(), log.expected.rend(), offset);  // perhaps several at once
  if (answered != log.expected.rend()) {
    log.expected.erase(log.expected.begin(), answered.base());
    log.done = log.last_sent && log.expected.empty();
  } else {
    log.sent = offset;
    log.last_sent = false;
    log.expected.clear();
  }
}

void LogRelay::reconnected() {
  for (auto& [epoch, log] : logs_) {
    log.sent = log.acknowledged;
    log.last_sent = false;
    log.expected.clear();
  }
}

std::vector<LogPiece> LogRelay::next(size_t limit) {
  std::vector<LogPiece> pieces;
  for (auto& [epoch, log] : logs_) {
    while (pieces.size() < limit && next_piece(epoch, log, pieces)) {
    }
  }
  return pieces;
}

bool LogRelay::next_piece(uint64_t epoch, Log& log, std::vector<LogPiece>& pieces) {
  if (log.done || log.last_sent || log.sent - log.acknowledged >= kMaxUnacknowledged) return false;
  const auto size = env_.file_size(log.path);
  const uint64_t end = size.ok() ? *size : 0;
  if (end < log.sent) {  // it is not there any more, and nobody can have what is missing
    log.done = log.ended;
    return false;
  }
  LogPiece piece{.epoch = epoch, .log_name = log.name, .offset = log.sent};
  piece.data.resize(std::min<uint64_t>(end - log.sent, kPieceBytes));
  piece.last = log.ended && log.sent + piece.data.size() == end;
  if (piece.data.empty() && !piece.last) return false;
  if (!piece.data.empty()) {
    const auto file = env_.open(log.path);
    const auto to = std::as_writable_bytes(std::span<char>(piece.data.data(), piece.data.size()));
    if (!file.ok() || !(*file)->read(log.sent, to).ok()) return false;  // later
  }
  log.sent += piece.data.size();
  log.last_sent = piece.last;
  log.expected.push_back(log.sent);
  pieces.push_back(std::move(piece));
  return true;
}

std::vector<uint64_t> LogRelay::finished() {
  const auto ended =
      static_cast<size_t>(std::count_if(logs_.begin(), logs_.end(), [](const auto& one) { return one.second.ended; }));
  size_t too_many = ended > kMaxEnded ? ended - kMaxEnded : 0;
  std::vector<uint64_t> epochs;
  for (auto at = logs_.begin(); at != logs_.end();) {
    const bool goes = at->second.done || (at->second.ended && too_many > 0);
    if (goes && !at->second.done) --too_many;
    if (goes) epochs.push_back(at->first);
    at = goes ? logs_.erase(at) : std::next(at);
  }
  return epochs;
}

}  // namespace gridquant::node
