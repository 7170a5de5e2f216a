// What an attempt is made of on this node: its folder, its process (a worker, mpirun, or a gang's daemon), its end.
#include <algorithm>
#include <utility>

#include <openssl/crypto.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/log.h"
#include "node/daemon/agent.h"
#include "stages/warnings.h"

namespace gridquant::node {
namespace {

using nlohmann::json;

constexpr size_t kSecretDigitsInNames = 12;

// The same on every node of the gang, for Open MPI knows one name for all.
std::string shared_folder_for(const std::string& base, uint64_t epoch, const std::string& secret) {
  return absl::StrCat(base, "/gridquant-", epoch, "-",
                      secret.substr(secret.size() - std::min(kSecretDigitsInNames, secret.size())));
}

bool same_secret(const std::string& a, const std::string& b) {
  return !a.empty() && a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

int Agent::Attempt::ranks() const {
  int all = 0;
  for (const auto& [node, count] : desired.hosts) all += count;
  return std::max(all, desired.ranks);
}

std::string Agent::Attempt::node_of(int rank) const {
  int end = 0;
  for (const auto& [node, count] : desired.hosts) {
    end += count;
    if (rank < end) return node;
  }
  return "";
}

void Agent::effect(const LaunchAttempt& effect) {
  const uint64_t epoch = effect.attempt.epoch;
  Attempt& attempt = attempts_.at(epoch);
  StatusOr<LaunchSpec> spec = prepare(attempt);
  StatusOr<int64_t> pid = spec.ok() ? seams_.launcher.start(epoch, *spec) : StatusOr<int64_t>(spec.status());
  if (!pid.ok()) {
    relay_.end(epoch);                    // its folder goes when its log is with the coordinator
    if (!spec.ok()) remove_folder(epoch);  // it has no log yet
    return step(StartFailed{epoch, std::string(pid.status().message())});
  }
  attempt.runs = true;
  step(ProcessStarted{epoch, *pid});
}

Status Agent::check_store(const AttemptTask& task) const {
  const std::string path = base::join_path(task.store, "artifacts/.store-id");
  const StatusOr<std::string> id = base::read_file(seams_.env, path);
  if (id.ok() && *id == task.store_id) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("node ", options_.node, " does not see the coordinator's store under ", task.store, " (",
                   id.ok() ? absl::StrCat(path, " is of another one") : std::string(id.status().message()),
                   "): all nodes need the same shared folder there (gridquant coordinator --store DIR)"));
}

// What lies in the folder is for the processes of this attempt, which end with the machine: nothing is synced.
Status Agent::prepare_folder(Attempt& attempt) {
  const uint64_t epoch = attempt.desired.epoch;
  remove_folder(epoch);
  GQ_RETURN_IF_ERROR(seams_.env.make_folders(seams_.files.attempt_file(epoch, "tmp")));
  if (attempt.gang() || !attempt.desired.head) {
    attempt.shared_folder = shared_folder_for(options_.shared_memory, epoch, attempt.task.secret);
    GQ_RETURN_IF_ERROR(
        base::write_file_unsynced(seams_.env, seams_.files.attempt_file(epoch, "shared"), attempt.shared_folder));
    GQ_RETURN_IF_ERROR(seams_.env.make_folders(attempt.shared_folder));
  }
  if (attempt.desired.head) attempt.watch.emplace(attempt.ranks(), options_.watch, now_ms());
  return absl::OkStatus();
}

Status Agent::read_task(Attempt& attempt) {
  const json task = json::parse(attempt.task.task_json, nullptr, /*allow_exceptions=*/false);
  const std::string artifact = task.is_object() ? task.value("artifact", "") : "";
  if (!artifact.starts_with("/") || task.value("key", "") != attempt.desired.key) {
    return absl::InternalError("the coordinator sent a task that is not one of this attempt");
  }
  attempt.artifact = artifact;
  const json inputs = task.value("inputs", json::object());
  for (const auto& [name, folder] : inputs.items()) {
    if (folder.is_string()) attempt.inputs[name] = folder.get<std::string>();
  }
  GQ_RETURN_IF_ERROR(seams_.env.make_folders(artifact));
  const uint64_t epoch = attempt.desired.epoch;
  // Ranks on other nodes see what lies beside the artifact, but not this node's own folder.
  attempt.task_path = attempt.desired.hosts.size() > 1 ? absl::StrCat(artifact, ".attempt-", epoch, ".json")
                                                       : seams_.files.attempt_file(epoch, "task.json");
  return base::write_file_unsynced(seams_.env, attempt.task_path, attempt.task.task_json);
}

std::vector<std::string> Agent::variables(const Attempt& attempt) const {
  const uint64_t epoch = attempt.desired.epoch;
  std::vector<std::string> all = {absl::StrCat("TMPDIR=", seams_.files.attempt_file(epoch, "tmp"))};
  std::vector<int> gpus;
  for (int gpu = 0; gpu < 64; ++gpu) {
    if ((attempt.desired.gpus >> gpu & 1) != 0) gpus.push_back(gpu);
  }
  if (!gpus.empty()) all.push_back(absl::StrCat("CUDA_VISIBLE_DEVICES=", absl::StrJoin(gpus, ",")));
  return all;
}

StatusOr<LaunchSpec> Agent::prepare(Attempt& attempt) {
  const uint64_t epoch = attempt.desired.epoch;
  GQ_RETURN_IF_ERROR(check_store(attempt.task));
  GQ_RETURN_IF_ERROR(prepare_folder(attempt));
  GQ_RETURN_IF_ERROR(read_task(attempt));
  LaunchSpec spec;
  spec.argv = {options_.worker, "--task", attempt.task_path};
  spec.log_path = seams_.files.attempt_file(epoch, "log");
  spec.env = variables(attempt);
  if (attempt.gang()) {
    std::vector<GangHost> hosts;
    for (size_t i = 0; i < attempt.desired.hosts.size(); ++i) {
      const auto& [node, ranks] = attempt.desired.hosts[i];
      hosts.push_back({node, ranks, i < attempt.task.addresses.size() ? attempt.task.addresses[i] : ""});
      if (i > 0 && hosts[i].address.empty()) {
        return absl::FailedPreconditionError("node " + node + " has no address where its agent can be asked");
      }
    }
    if (hosts.empty()) hosts.push_back({options_.node, attempt.desired.ranks, ""});
    GangOptions gang = options_.gang;
    gang.shared_folder = attempt.shared_folder;
    gang.grace_ms = attempt.desired.grace_ms > 0 ? attempt.desired.grace_ms : gang.grace_ms;
    spec.argv = mpirun_command(gang, hosts, spec.argv);
    spec.env.insert(spec.env.end(), gang.environment.begin(), gang.environment.end());
    spec.env.push_back(absl::StrCat(kGangVariable, "=", write_ticket(epoch, attempt.task.secret, hosts)));
  }
  spec.mark = seams_.files.mark(epoch);
  GQ_RETURN_IF_ERROR(base::write_file_unsynced(seams_.env, seams_.files.attempt_file(epoch, "log.json"),
                                                 json({{"logName", attempt.task.log_name}}).dump()));
  GQ_RETURN_IF_ERROR(base::write_file_unsynced(seams_.env, spec.log_path, ""));
  relay_.add(epoch, attempt.task.log_name, spec.log_path);
  return spec;
}

// ---- a gang's daemon on a member

Status Agent::admit(const DaemonRequested& request, LaunchSpec& spec) {
  const auto found = attempts_.find(request.epoch);
  const bool live = found != attempts_.end() && !found->second.desired.head && session_.has_live_lease(request.epoch);
  if (!live || !same_secret(request.secret, found->second.task.secret)) {
    return absl::PermissionDeniedError(
        absl::StrCat("node ", options_.node, " lends nothing to attempt ", request.epoch, ", or not to this caller"));
  }
  Attempt& attempt = found->second;
  if (attempt.lent) return absl::PermissionDeniedError("a daemon was started for this attempt before");
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> arguments, admit_daemon_arguments(request.arguments));
  GQ_RETURN_IF_ERROR(check_store(attempt.task));
  GQ_RETURN_IF_ERROR(prepare_folder(attempt));
  spec.env = variables(attempt);
  for (const auto& [name, value] : request.variables) {
    GQ_RETURN_IF_ERROR(admit_daemon_variable(name));
    spec.env.push_back(absl::StrCat(name, "=", value));
  }
  spec.argv = {options_.orted};
  spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
  spec.log_path = seams_.files.attempt_file(request.epoch, "daemon.log");
  spec.mark = seams_.files.mark(request.epoch);
  spec.merge_errors = true;
  return absl::OkStatus();
}

void Agent::receive(const DaemonRequested& request) {
  LaunchSpec spec;
  const Status admitted = admit(request, spec);
  if (!admitted.ok()) {
    base::log(base::LogLevel::kWarning, absl::StrCat("refused to run a daemon: ", admitted.message()));
    return request.call->refused(admitted);
  }
  Attempt& attempt = attempts_.at(request.epoch);
  attempt.lent = true;
  const StatusOr<int64_t> pid = seams_.launcher.start(request.epoch, spec);
  if (!pid.ok()) return request.call->refused(pid.status());
  attempt.runs = true;
  attempt.call = request.call;
  request.call->started(*pid);
  step(ProcessStarted{request.epoch, *pid});
}

void Agent::receive(const DaemonAbandoned& message) {
  for (const auto& [epoch, attempt] : attempts_) {
    if (attempt.call == message.call && attempt.runs) seams_.launcher.signal(epoch, Signal::kKill);
  }
}

// ---- lines and ends

void Agent::on_line(uint64_t epoch, const std::string& line) {
  const auto found = attempts_.find(epoch);
  if (found == attempts_.end()) return;
  Attempt& attempt = found->second;
  if (attempt.call != nullptr) return attempt.call->output(line + "\n");
  std::optional<WorkerEvent> event = parse_worker_event(line);
  if (!event) return seams_.launcher.write_log(epoch, line);
  if (attempt.watch) attempt.watch->beat(event->rank, now_ms());
  if (event->kind == WorkerEvent::Kind::kHeartbeat) return;
  attempt.story.add(*event);
  if (event->kind != WorkerEvent::Kind::kProgress) seams_.launcher.write_log(epoch, log_line(*event));
  if (event->kind == WorkerEvent::Kind::kError) return;  // comes with the attempt's end
  seams_.uplink.send(AttemptProgress{epoch, attempt.desired.run, attempt.desired.stage, *std::move(event)});
}

void Agent::on_exit(uint64_t epoch, int exit_code) {
  const auto found = attempts_.find(epoch);
  if (found == attempts_.end()) return;
  Attempt& attempt = found->second;
  if (attempt.call != nullptr) {
    attempt.call->ended(exit_code);
    attempt.call = nullptr;
    attempt.runs = false;
    step(ProcessExited{epoch, exit_code});
    return forget();
  }
  const EndedWorker ended{.exit_code = exit_code,
                          .gang = attempt.gang(),
                          .artifact = attempt.artifact,
                          .key = attempt.desired.key,
                          .log_path = seams_.files.attempt_file(epoch, "log"),
                          .inputs = attempt.inputs};
  if (failure_class_for(exit_code) != FailureClass::kCorruption || exit_code == 0) {
    return finish(epoch, judge(seams_.env, ended, attempt.story));
  }
  judges_.emplace_back([this, ended, epoch, story = attempt.story] {  // reads whole inputs
    Judged judged{epoch, judge(seams_.env, ended, story)};
    while (!seams_.inbox.push(judged)) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  });
}

void Agent::finish(uint64_t epoch, const WorkerOutcome& outcome) {
  const auto found = attempts_.find(epoch);
  if (found == attempts_.end()) return;
  Attempt& attempt = found->second;
  attempt.runs = false;
  if (attempt.desired.hosts.size() > 1) seams_.env.remove_file(attempt.task_path).IgnoreError();
  if (!attempt.shared_folder.empty()) seams_.env.remove_tree(attempt.shared_folder).IgnoreError();
  relay_.end(epoch);
  if (outcome.exit_code == 0) stages::keep_warnings(seams_.env, attempt.artifact, attempt.story.warnings).IgnoreError();
  WorkerResult result{.epoch = epoch, .error_code = outcome.error_code, .message = outcome.message};
  result.summary = outcome.summary;
  result.corrupt_inputs = outcome.corrupt_inputs;
  step(result);
  step(ProcessExited{epoch, outcome.exit_code});
  forget();
}

}  // namespace gridquant::node
