// A recorded run, read back from the store by replaying its records: what get, logs and explain look at. Works while
// the run goes on and after.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/sched/scheduler.h"
#include "coordinator/store/state_store.h"
#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::cli {

struct RunView {
  sched::Run run;
  std::string state;  // as the run's, but "interrupted" when it says running and nobody carries it on
  bool remote = false;                           // a coordinator's
  std::vector<std::string> notes{};              // more about it, for people
  nlohmann::json more = nlohmann::json::object();  // and for programs
  std::map<std::string, std::string> artifacts{};  // stage -> folder of its artifact
};

// `id` "" is the latest run. NotFound names the nearest thing to do.
StatusOr<RunView> load_run(store::StateStore& store, const std::string& workdir, const std::string& id);

// What `gridquant logs A B` and `explain A B` mean: [RUN] [STAGE], where a single word may be either.
struct RunAndStage {
  RunView view;
  std::string stage;  // "" = none named
};
// The view with that stage chosen; NotFound names those that there are.
StatusOr<RunAndStage> with_stage(RunView view, const std::string& stage);
StatusOr<RunAndStage> load_run_and_stage(const std::string& workdir, const std::vector<std::string>& words);

// Ends runs that an earlier process left behind. Only for the holder of the work folder's lock.
Status mark_interrupted(store::StateStore& store, int64_t now_ms);

// The next free "<pipeline>-<n>", also of a coordinator that has worked in the folder. Likewise.
StatusOr<std::string> next_run_id(base::Env& env, const std::string& workdir, const std::string& pipeline);

}  // namespace gridquant::cli
