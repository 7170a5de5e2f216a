// See delivery.h.
#include "coordinator/control/delivery.h"

#include <filesystem>

#include "coordinator/deliver/deliver.h"
#include "coordinator/store/workdir.h"
#include "stages/warnings.h"

namespace gridquant::control {

Status deliver_run(base::Env& env, const sched::Run& run, const std::string& store) {
  const auto artifact_of = [&](const std::string& name) {
    const sched::Stage& stage = run.stages[run.index.at(name)];
    return store::artifact_folder(store, stage.plan.uses, stage.key);
  };
  deliver::Delivery delivery{.run = run,
                             .output = run.options.value("output", ""),
                             .artifact_of = artifact_of,
                             .environment = run.options.value("environment", nlohmann::json::object()),
                             .warnings = {}};
  if (delivery.output.empty()) return absl::InternalError("run " + run.id + " has no output folder");
  for (const sched::Stage& stage : run.stages) {
    if (stage.state != sched::StageState::kSucceeded) continue;
    for (const std::string& warning : stages::recall_warnings(env, artifact_of(stage.plan.name))) {
      delivery.warnings.push_back(stage.plan.name + ": " + warning);
    }
  }
  GQ_RETURN_IF_ERROR(env.make_folders(delivery.output));
  GQ_RETURN_IF_ERROR(deliver::deliver_checkpoints(env, delivery));
  return deliver::deliver_report(env, delivery.output, deliver::make_report(delivery));
}

void DeliveryLines::add(const std::string& folder, std::function<void()> work) {
  const std::string name = std::filesystem::path(folder).lexically_normal().string();
  {
    absl::MutexLock lock(&mutex_);
    std::deque<std::function<void()>>& line = lines_[name];
    line.push_back(std::move(work));
    if (line.size() > 1) return;
  }
  executor_.run([this, name] { carry_out(name); });
}

void DeliveryLines::carry_out(const std::string& folder) {
  std::function<void()> work;
  {
    absl::MutexLock lock(&mutex_);
    work = lines_.at(folder).front();
  }
  work();
  {
    absl::MutexLock lock(&mutex_);
    std::deque<std::function<void()>>& line = lines_.at(folder);
    line.pop_front();
    if (line.empty()) {
      lines_.erase(folder);
      return;
    }
  }
  executor_.run([this, folder] { carry_out(folder); });
}

}  // namespace gridquant::control
