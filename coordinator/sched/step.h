// One step of the scheduler while it is being made: collects records (applying each at once, so that what follows
// sees it) and actions. Private to coordinator/sched.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/sched/scheduler.h"

namespace gridquant::sched {

class Step {
 public:
  Step(Scheduler& scheduler, Tick now_ms) : scheduler_(scheduler), now_ms_(now_ms) {}

  void handle(const RunSubmitted& input);
  void handle(const ArtifactFound& input);
  void handle(const ArtifactMissing& input);
  void handle(const AttemptStarted& input);
  void handle(const AttemptFinished& input);
  void handle(const CancelRequested& input);
  void handle(const NodeChanged& input);
  void handle(const TimerFired& input);
  void handle(const Restarted& input);
  void handle(const RunAbandoned& input);
  void handle(const BatchSubmitted& input);
  void handle(const PauseRequested& input);
  void handle(const RetryRequested& input);
  void handle(const DeleteRequested& input);
  void handle(const RunDelivered& input);
  void handle(const DrainRequested& input);
  void handle(const ForgetRequested& input);
  void handle(const QueueRequested& input);
  void handle(const NodeReport& input);

  // Whether the request with this id was handled before: then it is answered, or refused if its content was another.
  bool answered(const std::string& request, const std::string& digest);
  void answer(const std::string& request, const std::string& digest);

  // Everything that follows from the state as it is now: stages whose needs are over, free nodes, finished runs.
  void advance();
  // The desired states of the nodes that something was decided about.
  void sync_nodes();

  StepResult take() { return std::move(result_); }

 private:
  bool emit(RecordType type, const std::string& run, const std::string& stage, nlohmann::json body);
  void refuse(std::string why, absl::StatusCode code = absl::StatusCode::kFailedPrecondition) {
    result_.refused = std::move(why);
    result_.refused_code = code;
  }
  Run* find_run(const std::string& id);
  Stage* find_stage(const std::string& run, const std::string& stage);
  Stage* find_attempt(const std::string& run, const std::string& stage, uint64_t epoch);

  // requests.cc
  std::string submit(const RunSubmitted& input, const std::string& batch, bool queued);
  void cancel(Run& run, const std::string& reason, bool force);
  static std::string why_not_deleted(const Run& run);  // "": it may be
  void erase(const Run& run);

  // attempts.cc
  void fail_attempt(const std::string& run, Stage& stage, const AttemptFinished& input);
  void lose_attempt(uint64_t epoch, const std::string& why);  // if it is a current one
  void remake(const std::string& run, Stage& stage, const AttemptFinished& input);
  void retry(const std::string& run, Stage& stage, const AttemptFinished& input, const char* budget);
  void finish(const std::string& run, Stage& stage, const char* outcome, const AttemptFinished& input,
              nlohmann::json extra = nlohmann::json::object());
  void stop(const std::string& run, Stage& stage, const char* why, int64_t grace_ms);
  void cancel_stages(Run& run, bool force);

  // timers.cc
  void fire(const StageRef& ref);
  void fire_running(Run& run, Stage& stage);

  // nodes.cc
  void join(const NodeReport& input, bool again);
  void leave(const std::string& name);
  void lose_node(const std::string& name, const std::string& why);
  void reconcile(const NodeReport& input);
  void member_report(uint64_t epoch, const NodeReport& input, const AttemptReport& report);
  void member_started(uint64_t epoch, const std::string& node, int64_t pid);
  void member_gone(uint64_t epoch, const std::string& node);
  Stage* undecided(uint64_t epoch);  // the stage whose current attempt it is; null if there is none
  void touch_lease(uint64_t epoch);
  DesiredState desired(const std::string& node);

  // settle.cc
  void settle();
  void settle_stage(Run& run, size_t stage);
  bool settle_condition(Run& run, Stage& stage);
  void make_ready(Run& run, Stage& stage);
  void settle_runs();
  void settle_batch(const std::string& id);
  void finish_run(Run& run);
  void retire_runs();

  // place.cc
  bool place();
  enum class Placed { kYes, kFailed, kSkipped, kShapeBlocked };
  Placed place_stage(Run& run, Stage& stage);
  static const Stage* lost_input(const Run& run, const Stage& stage);
  bool must_wait(const Run& run, const Stage& stage);
  bool over_quota(const Run& run, const Stage& stage);
  void grant(Run& run, Stage& stage, std::vector<Member> members);
  void reserve(const Run& run, const Stage& stage);

  Scheduler& scheduler_;
  Tick now_ms_;
  StepResult result_;
  std::string result_id_;              // of the request: what it made
  std::set<std::string> touched_;      // nodes
  std::set<std::string> reserved_;     // nodes, while place() runs
  std::set<std::string> full_queues_;  // likewise: kept for a stage that has waited long
  bool has_reserved_ = false;
};

}  // namespace gridquant::sched
