// One step of the scheduler while it is being made: collects records (applying each at once, so that what follows
// sees it) and actions. Private to coordinator/sched.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

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

  // Everything that follows from the state as it is now: stages whose needs are over, free nodes, finished runs.
  void advance();

  StepResult take() { return std::move(result_); }

 private:
  bool emit(RecordType type, const std::string& run, const std::string& stage, nlohmann::json body);
  void refuse(std::string why) { result_.refused = std::move(why); }
  Run* find_run(const std::string& id);
  Stage* find_stage(const std::string& run, const std::string& stage);
  Stage* find_attempt(const std::string& run, const std::string& stage, uint64_t epoch);

  // attempts.cc
  void fail_attempt(const std::string& run, Stage& stage, const AttemptFinished& input);
  void remake(const std::string& run, Stage& stage, const AttemptFinished& input);
  void retry(const std::string& run, Stage& stage, const AttemptFinished& input);
  void finish(const std::string& run, Stage& stage, const char* outcome, const AttemptFinished& input,
              nlohmann::json extra = nlohmann::json::object());
  void stop(const std::string& run, Stage& stage, const char* why, int64_t grace_ms);
  void cancel_stages(Run& run, bool force);

  // settle.cc
  void settle();
  bool settle_run(Run& run, std::set<std::string>& busy_keys);
  bool settle_stage(Run& run, Stage& stage, std::set<std::string>& busy_keys);
  bool settle_condition(Run& run, Stage& stage);
  void make_ready(Run& run, Stage& stage);
  bool place();
  bool place_stage(Run& run, Stage& stage);
  void finish_runs();

  Scheduler& scheduler_;
  Tick now_ms_;
  StepResult result_;
  struct Used {
    int cores = 0;
    int64_t memory_bytes = 0;
  };
  std::map<std::string, Used> used_;       // by node, while place() runs
  std::set<std::string> keys_being_read_;  // likewise
};

}  // namespace gridquant::sched
