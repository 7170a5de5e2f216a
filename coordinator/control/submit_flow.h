// A submission's way: request known? -> check the file -> keys -> notes -> scheduler -> durable. Slow parts on the
// executor, the others on the core's thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/control/core.h"
#include "coordinator/control/submission.h"

namespace gridquant::control {

struct Submitted {
  std::string run;    // or
  std::string batch;  // with
  std::vector<std::string> batch_runs;
  std::vector<std::string> warnings{};  // see sched::out_of_reach
};

// What came of a submission; `diagnostics` are the mistakes in the file, if that is why (InvalidArgument).
struct SubmitOutcome {
  StatusOr<Submitted> result;
  std::vector<spec::Diagnostic> diagnostics{};
};

class SubmitFlow {
 public:
  static constexpr int kMostAtOnce = 64;
  struct Options {
    Machine own;
    std::string version;
  };
  SubmitFlow(Core& core, base::Env& env, Executor& executor, Options options)
      : core_(core), env_(env), executor_(executor), options_(std::move(options)) {}

  // `done` is called once, on any thread, when the submission is durable or refused. ResourceExhausted: too many at
  // once.
  void submit(Submission submission, std::function<void(const SubmitOutcome&)> done);
  // Likewise, with what there is to say of the file.
  void validate(PipelineText file, std::function<void(const StatusOr<Checked>&)> done);

 private:
  struct Call {
    Submission submission;
    std::function<void(const SubmitOutcome&)> done;
    Machine machine;
  };
  using CallPtr = std::shared_ptr<Call>;
  void end(const CallPtr& call, SubmitOutcome outcome);
  void begin(const CallPtr& call, const View& view);
  void prepare_keys(const CallPtr& call);
  void add_notes(const CallPtr& call, sched::Input input, const View& view);
  void tell(const CallPtr& call, const std::string& id, const View& view);

  Core& core_;
  base::Env& env_;
  Executor& executor_;
  Options options_;
  std::atomic<int> running_ = 0;
};

}  // namespace gridquant::control
