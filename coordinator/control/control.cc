// See control.h.
#include "coordinator/control/control.h"

#include <algorithm>
#include <set>

#include "coordinator/store/run_ids.h"
#include "engine/base/log.h"
#include "engine/base/secret.h"

namespace gridquant::control {
namespace {

constexpr int64_t kLockWaitMs = 1'000;  // for a coordinator that is just ending
constexpr int kExecutorThreads = 4;     // they wait for disks more than they compute

StatusOr<std::unique_ptr<store::WorkdirLock>> lock(const std::string& folder) {
  GQ_ASSIGN_OR_RETURN(store::WorkdirLock lock, store::WorkdirLock::acquire(folder, kLockWaitMs));
  return std::make_unique<store::WorkdirLock>(std::move(lock));
}

}  // namespace

Control::Control(ControlOptions options) : options_(std::move(options)), logs_(env_, options_.workdir) {}

Control::~Control() {
  stop();
}

Status Control::open(base::Clock& clock) {
  GQ_RETURN_IF_ERROR(annotate(env_.make_folders(options_.workdir), "the work folder cannot be made (--workdir DIR)"));
  GQ_RETURN_IF_ERROR(annotate(env_.make_folders(options_.store), "the store cannot be made (--store DIR)"));
  GQ_ASSIGN_OR_RETURN(state_lock_, lock(options_.workdir));
  if (options_.store != options_.workdir) {
    GQ_ASSIGN_OR_RETURN(store_lock_, lock(options_.store));
  }
  GQ_ASSIGN_OR_RETURN(
      store_, store::open_sqlite_store(options_.workdir, store::Access::kReadWrite, store::kCoordinatorDatabase));
  CoreOptions core_options{
      .store = options_.store, .store_id = {}, .secret = {}, .last_run = 0, .limits = options_.limits};
  GQ_ASSIGN_OR_RETURN(const std::set<std::string> ids, store::used_run_ids(env_, options_.workdir));
  for (const std::string& id : ids) core_options.last_run = std::max(core_options.last_run, store::run_number(id));
  GQ_ASSIGN_OR_RETURN(core_options.store_id, store::load_or_make_store_id(env_, options_.store));
  GQ_ASSIGN_OR_RETURN(core_options.secret,
                      base::load_or_make_secret(env_, base::join_path(options_.workdir, "cluster-secret")));
  executor_ = make_thread_executor(kExecutorThreads);
  core_ = std::make_unique<Core>(Core::Seams{env_, clock, *store_, *executor_}, std::move(core_options));
  submissions_ =
      std::make_unique<SubmitFlow>(*core_, env_, *executor_, SubmitFlow::Options{options_.own, options_.version});
  garbage_ = std::make_unique<GarbageCalls>(*core_, env_, *executor_);
  return core_->recover();
}

void Control::start(std::function<void(const Status&)> on_failure) {
  on_failure_ = std::move(on_failure);
  thread_ = std::thread([this] { loop(); });
}

void Control::loop() {
  while (!stopping_) {
    core_->wait();
    const Status turned = core_->turn();
    if (turned.ok()) continue;
    base::log(base::LogLevel::kError, std::string(turned.message()));
    if (!stopping_) on_failure_(turned);
    return;
  }
}

void Control::stop() {
  if (stopping_.exchange(true) || core_ == nullptr) return;
  core_->wake();
  if (thread_.joinable()) thread_.join();
  core_->stop(absl::UnavailableError("the coordinator is stopping: try again"));
  executor_.reset();
}

}  // namespace gridquant::control
