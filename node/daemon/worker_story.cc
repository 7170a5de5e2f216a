// See worker_story.h.
#include "node/daemon/worker_story.h"

#include <algorithm>
#include <span>

#include "stages/task.h"
#include "stages/warnings.h"

namespace gridquant::node {
namespace {

using nlohmann::json;

constexpr size_t kTailBytes = 2'000;
constexpr int kFirstSignal = 128, kLastSignal = 128 + 64;

// The last line of a log: what there is to say of a worker that died without an error event.
std::string last_line(base::Env& env, const std::string& path) {
  const auto file = env.open(path);
  if (!file.ok()) return "";
  const uint64_t bytes = std::min<uint64_t>((*file)->size(), kTailBytes);
  std::string tail(bytes, '\0');
  const auto to = std::as_writable_bytes(std::span<char>(tail.data(), tail.size()));
  if (!(*file)->read((*file)->size() - bytes, to).ok()) return "";
  while (!tail.empty() && (tail.back() == '\n' || tail.back() == '-')) tail.pop_back();  // mpirun's frame too
  const size_t start = tail.rfind('\n');
  return start == std::string::npos ? tail : tail.substr(start + 1);
}

bool is_lost_peer(const std::string& code) {
  return code == "Aborted" || code == "Cancelled";
}

std::string describe(base::Env& env, const EndedWorker& ended) {
  const int code = ended.exit_code;
  const std::string what = ended.gang ? "a rank" : "the worker";
  std::string text = code > kFirstSignal && code <= kLastSignal
                         ? what + " was ended by signal " + std::to_string(code - kFirstSignal)
                         : (ended.gang ? "mpirun" : what) + " ended with exit code " + std::to_string(code);
  const std::string last = last_line(env, ended.log_path);
  if (!last.empty()) text += "; its last words: " + last;
  return text;
}

}  // namespace

const char* name_of(WorkerEvent::Kind kind) {
  switch (kind) {
    case WorkerEvent::Kind::kProgress:
      return "progress";
    case WorkerEvent::Kind::kNote:
      return "note";
    case WorkerEvent::Kind::kWarning:
      return "warning";
    case WorkerEvent::Kind::kError:
      return "error";
    case WorkerEvent::Kind::kHeartbeat:
      return "heartbeat";
  }
  return "note";
}

std::optional<WorkerEvent> parse_worker_event(const std::string& line) {
  const json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!event.is_object()) return std::nullopt;
  try {
    WorkerEvent result;
    const std::string kind = event.value("event", "");
    result.kind = kind == "progress"    ? WorkerEvent::Kind::kProgress
                  : kind == "warning"   ? WorkerEvent::Kind::kWarning
                  : kind == "heartbeat" ? WorkerEvent::Kind::kHeartbeat
                  : kind == "error"     ? WorkerEvent::Kind::kError
                                        : WorkerEvent::Kind::kNote;
    result.rank = event.value("rank", 0);
    result.done = event.value("done", int64_t{0});
    result.total = event.value("total", int64_t{0});
    result.unit = event.value("unit", "");
    result.message = event.value("message", "");
    result.code = event.value("code", "");
    return result;
  } catch (const json::exception&) {
    return std::nullopt;  // fields of other types: the log keeps it for whoever looks
  }
}

std::string log_line(const WorkerEvent& event) {
  const std::string rank = event.rank > 0 ? " of rank " + std::to_string(event.rank) : "";
  return name_of(event.kind) + rank + ": " + event.message;
}

void WorkerStory::add(const WorkerEvent& event) {
  if (event.kind == WorkerEvent::Kind::kWarning && warnings.size() < stages::kMaxWarnings)
    warnings.push_back(event.message);
  if (event.kind != WorkerEvent::Kind::kError) return;
  if (!error_code.empty() && (!is_lost_peer(error_code) || is_lost_peer(event.code))) return;
  error_code = event.code;
  message = event.rank > 0 ? "rank " + std::to_string(event.rank) + ": " + event.message : event.message;
}

WorkerOutcome judge(base::Env& env, const EndedWorker& ended, const WorkerStory& story) {
  WorkerOutcome outcome{.exit_code = ended.exit_code};
  if (ended.exit_code == 0) {
    const StatusOr<stages::Artifact> artifact = stages::read_artifact(env, ended.artifact);
    if (artifact.ok() && artifact->key == ended.key) {
      outcome.summary = artifact->summary;
      return outcome;
    }
    outcome.exit_code = static_cast<int>(ExitCode::kInvariant);
    outcome.message = "the worker ended without an error, but its result is not there" +
                      (artifact.ok() ? std::string() : ": " + std::string(artifact.status().message()));
    return outcome;
  }
  outcome.error_code = story.error_code;
  outcome.message = story.message.empty() ? describe(env, ended) : story.message;
  // mpirun's and MPI's own codes overlap with ours; without a word of a rank they say only that the gang broke.
  if (ended.gang && story.error_code.empty() && ended.exit_code < kFirstSignal) {
    outcome.exit_code = static_cast<int>(ExitCode::kPeerLost);
  }
  if (failure_class_for(outcome.exit_code) != FailureClass::kCorruption) return outcome;
  for (const auto& [name, folder] : ended.inputs) {
    const StatusOr<stages::Artifact> artifact = stages::read_artifact(env, folder);
    if (!artifact.ok() || !stages::verify_artifact(env, folder, *artifact, /*digests=*/true).ok()) {
      outcome.corrupt_inputs.push_back(name);
    }
  }
  return outcome;
}

}  // namespace gridquant::node
