// See submit_flow.h.
#include "coordinator/control/submit_flow.h"

#include <utility>

#include "coordinator/sched/requests.h"
#include "coordinator/store/stage_key.h"

namespace gridquant::control {
namespace {

// What differs from the last artifact that a stage of this name made: for `explain`.
Status note_differences(sched::RunSubmitted& run, store::StateStore& store) {
  for (const spec::StagePlan& stage : run.pipeline.stages) {
    GQ_ASSIGN_OR_RETURN(const auto latest, store.latest_artifact(stage.name, stage.uses));
    nlohmann::json& note = run.cache_notes[stage.name];
    if (!latest || !latest->components.is_object()) continue;
    note["comparedWith"] = latest->run;
    note["differs"] = store::differences(latest->components, note["components"]);
  }
  return absl::OkStatus();
}

}  // namespace

void SubmitFlow::end(const CallPtr& call, SubmitOutcome outcome) {
  --running_;
  call->done(outcome);
}

void SubmitFlow::submit(Submission submission, std::function<void(const SubmitOutcome&)> done) {
  const auto call = std::make_shared<Call>(Call{std::move(submission), std::move(done), {}});
  if (++running_ > kMostAtOnce) {
    return end(call, {absl::ResourceExhaustedError("too many submissions at once: try again")});
  }
  const Status looked = core_.look([this, call](const View& view) { begin(call, view); });
  if (!looked.ok()) end(call, {looked});
}

void SubmitFlow::begin(const CallPtr& call, const View& view) {
  if (!view.ended.ok()) return end(call, {view.ended});
  const auto& requests = view.scheduler.state().requests;
  if (const auto known = requests.find(call->submission.request); known != requests.end()) {
    sched::RunSubmitted same;
    same.request_content = content_of(call->submission);
    if (known->second.digest == sched::content_digest(same)) return tell(call, known->second.result, view);
    return end(call, {absl::AlreadyExistsError("the request id " + call->submission.request +
                                               " was used for another request")});
  }
  call->machine = choose_machine(view.scheduler.state(), options_.own);
  executor_.run([this, call] { prepare_keys(call); });
}

void SubmitFlow::prepare_keys(const CallPtr& call) {
  Checked checked = check(env_, call->submission.file);
  if (!checked.diagnostics.empty()) {
    const spec::Diagnostic& first = checked.diagnostics.front();
    const std::string message =
        first.file + ":" + std::to_string(first.line) + ":" + std::to_string(first.column) + ": " + first.message;
    return end(call, {absl::InvalidArgumentError(message), std::move(checked.diagnostics)});
  }
  StatusOr<sched::Input> input = prepare(env_, call->submission, checked, call->machine, options_.version);
  if (!input.ok()) return end(call, {input.status()});
  const auto shared = std::make_shared<sched::Input>(*std::move(input));
  const Status looked =
      core_.look([this, call, shared](const View& view) { add_notes(call, std::move(*shared), view); });
  if (!looked.ok()) end(call, {looked});
}

void SubmitFlow::add_notes(const CallPtr& call, sched::Input input, const View& view) {
  if (!view.ended.ok()) return end(call, {view.ended});
  Status noted;
  if (auto* batch = std::get_if<sched::BatchSubmitted>(&input)) {
    for (sched::RunSubmitted& run : batch->runs) noted.Update(note_differences(run, view.store));
  } else {
    noted = note_differences(std::get<sched::RunSubmitted>(input), view.store);
  }
  if (!noted.ok()) return end(call, {noted});
  const Status posted = core_.post(std::move(input), [this, call](const StatusOr<std::string>& id) {
    if (!id.ok()) return end(call, {id.status()});
    const Status looked = core_.look([this, call, made = *id](const View& now) { tell(call, made, now); });
    if (!looked.ok()) end(call, {looked});
  });
  if (!posted.ok()) end(call, {posted});
}

void SubmitFlow::tell(const CallPtr& call, const std::string& id, const View& view) {
  if (!view.ended.ok()) return end(call, {view.ended});
  const auto& batches = view.scheduler.state().batches;
  Submitted submitted;
  if (const auto batch = batches.find(id); batch != batches.end()) {
    submitted.batch = id;
    submitted.batch_runs = batch->second.runs;
  } else {
    submitted.run = id;
  }
  const std::string& first = submitted.batch_runs.empty() ? id : submitted.batch_runs.front();  // they are much alike
  submitted.warnings = sched::out_of_reach(view.scheduler.state(), first);
  end(call, {submitted});
}

void SubmitFlow::validate(PipelineText file, std::function<void(const StatusOr<Checked>&)> done) {
  if (++running_ > kMostAtOnce) {
    --running_;
    return done(absl::ResourceExhaustedError("too many files at once: try again"));
  }
  executor_.run([this, text = std::move(file), done = std::move(done)] {
    const Checked checked = check(env_, text);
    --running_;
    done(checked);
  });
}

}  // namespace gridquant::control
