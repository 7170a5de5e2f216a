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

// What a run's messages mean for its output. Events must come in order, from the first one on.
class EventTeller {
 public:
  EventTeller(const v1::Run& run, RunOutput& output) : run_(run), output_(output) {}  // both outlive it
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
  std::map<std::string, Attempt> attempts_;  // the latest of each stage
};

struct Followed {
  bool left = false;  // interrupted by the user: the run goes on
  Status status{};    // why it could not be followed to its end
};

Followed follow_run(client::Client& client, const v1::Run& run, RunOutput& output, InterruptSource& interrupts);
// The batch's runs take the place of stages.
Followed follow_batch(client::Client& client, const std::string& batch, RunOutput& output, InterruptSource& interrupts);

}  // namespace gridquant::cli
