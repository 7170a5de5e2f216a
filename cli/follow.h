// A run or a batch of a coordinator, followed as it goes: its events become calls of the same RunOutput that shows a
// run of this machine.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "cli/driver.h"
#include "cli/run_output.h"
#include "coordinator/client/client.h"

namespace gridquant::cli {

// What a run's messages mean for its output. Events must come in order. Attempts are counted: where it is not from the
// first event on, they have no numbers.
class EventTeller {
 public:
  EventTeller(const v1::Run& run, RunOutput& output, bool from_start = true)  // both outlive it
      : run_(run), output_(output), from_start_(from_start) {}
  void tell(const v1::WatchRunResponse& message);

 private:
  struct Attempt {
    int number = 0;
    int64_t granted_ms = 0;
  };
  void tell(const v1::Event& event);
  void tell(const v1::Progress& progress);
  void tell_stage(const v1::Event& event, const nlohmann::json& body);

  const v1::Run& run_;
  RunOutput& output_;
  const bool from_start_;
  std::map<std::string, Attempt> attempts_;  // the latest of each stage
};

struct Followed {
  bool left = false;  // interrupted by the user: the run goes on
  Status status{};    // why it could not be followed to its end
};

// `after`: only what comes after the event of this number; 0: everything.
Followed follow_run(client::Client& client, const v1::Run& run, RunOutput& output, InterruptSource& interrupts,
                    uint64_t after = 0);
// The batch's runs take the place of stages.
Followed follow_batch(client::Client& client, const std::string& batch, RunOutput& output, InterruptSource& interrupts);

}  // namespace gridquant::cli
