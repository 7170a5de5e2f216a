// From messages of the protocol to runs as the scheduler has them.
#include "cli/remote.h"

#include <algorithm>

#include "engine/base/env.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

// "RUN_STATE_RUNNING" -> "running"
std::string word(const std::string& name, const std::string& prefix) {
  std::string text = name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name;
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text.empty() || text == "unspecified" ? "unknown" : text;
}

json parsed(const std::string& text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? json::object() : value;
}

template <class State>
State state_of(const std::string& name, State last) {
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    if (name == sched::name_of(static_cast<State>(i))) return static_cast<State>(i);
  }
  return static_cast<State>(0);
}

sched::Attempt attempt_of(const v1::Attempt& from) {
  sched::Attempt attempt;
  attempt.number = from.number();
  attempt.epoch = from.epoch();
  attempt.node = from.node();
  attempt.ranks = from.ranks();
  attempt.granted_ms = from.granted_ms();
  attempt.started_ms = from.started_ms();
  attempt.finished_ms = from.finished_ms();
  attempt.pid = from.pid();
  attempt.stopping = from.stopping();
  attempt.outcome = from.outcome();
  attempt.exit_code = from.exit_code();
  attempt.error_code = from.error_code();
  attempt.message = from.message();
  return attempt;
}

sched::Stage stage_of(const v1::Stage& from) {
  sched::Stage stage;
  stage.plan.name = from.name();
  stage.plan.uses = from.uses();
  stage.plan.needs.assign(from.needs().begin(), from.needs().end());
  stage.key = from.key();
  stage.cache_note = parsed(from.cache_note_json());
  stage.state = state_of(word_of(from.state()), sched::StageState::kCancelled);
  stage.reason = from.reason();
  stage.cached = from.cached();
  stage.since_ms = from.since_ms();
  stage.not_before_ms = from.not_before_ms();
  stage.summary = parsed(from.summary_json());
  for (const v1::Attempt& attempt : from.attempts()) stage.attempts.push_back(attempt_of(attempt));
  return stage;
}

void add_notes(const v1::Run& from, RunView& view) {
  if (from.paused()) view.notes.push_back("paused: nothing new starts (gridquant resume " + from.id() + ")");
  if (!from.batch().empty()) view.notes.push_back("of batch " + from.batch());
  if (!from.retry_of().empty()) view.notes.push_back("repeats run " + from.retry_of());
  if (from.delivery() == v1::DELIVERY_STATE_PENDING) view.notes.push_back("is being delivered into " + from.output());
  if (from.delivery() == v1::DELIVERY_STATE_DONE) view.notes.push_back("delivered into " + from.output());
  if (from.delivery() == v1::DELIVERY_STATE_FAILED) view.notes.push_back("not delivered: " + from.delivery_error());
  view.more = {{"paused", from.paused()},
               {"queue", from.queue()},
               {"priority", from.priority()},
               {"output", from.output()},
               {"delivery", word(v1::DeliveryState_Name(from.delivery()), "DELIVERY_STATE_")}};
  if (from.delivery() == v1::DELIVERY_STATE_UNSPECIFIED) view.more["delivery"] = "none";
  if (!from.batch().empty()) view.more["batch"] = from.batch();
  if (!from.retry_of().empty()) view.more["retryOf"] = from.retry_of();
  if (!from.delivery_error().empty()) view.more["deliveryError"] = from.delivery_error();
}

}  // namespace

std::string word_of(v1::RunState state) {
  return word(v1::RunState_Name(state), "RUN_STATE_");
}
std::string word_of(v1::StageState state) {
  return word(v1::StageState_Name(state), "STAGE_STATE_");
}

RunView view_of(const v1::Run& from) {
  RunView view;
  sched::Run& run = view.run;
  run.id = from.id();
  run.pipeline.name = from.pipeline();
  run.pipeline.params = parsed(from.params_json());
  run.pipeline.queue = from.queue();
  run.pipeline.priority = from.priority();
  run.state = state_of(word_of(from.state()), sched::RunState::kInterrupted);
  run.reason = from.reason();
  run.paused = from.paused();
  run.batch = from.batch();
  run.retry_of = from.retry_of();
  run.created_ms = from.created_ms();
  run.started_ms = from.started_ms();
  run.finished_ms = from.finished_ms();
  for (const v1::Stage& stage : from.stages()) {
    run.index[stage.name()] = run.stages.size();
    run.stages.push_back(stage_of(stage));
    view.artifacts[stage.name()] = stage.artifact_folder();
  }
  view.state = word_of(from.state());
  view.remote = true;
  add_notes(from, view);
  return view;
}

StatusOr<v1::Run> get_run(client::Client& client, const std::string& id) {
  v1::GetRunRequest request;
  request.set_run(id);
  if (id.empty()) {
    v1::ListRunsRequest latest;
    latest.set_page_size(1);
    GQ_ASSIGN_OR_RETURN(const v1::ListRunsResponse list, client.call(latest));
    if (list.runs().empty()) return absl::NotFoundError("the coordinator at " + client.address() + " has no run yet");
    request.set_run(list.runs(0).id());
  }
  GQ_ASSIGN_OR_RETURN(const v1::GetRunResponse answer, client.call(request));
  return answer.run();
}

StatusOr<RunView> load_run(client::Client& client, const std::string& id) {
  GQ_ASSIGN_OR_RETURN(const v1::Run run, get_run(client, id));
  return view_of(run);
}

StatusOr<RunAndStage> load_run_and_stage(client::Client& client, const std::vector<std::string>& words) {
  const std::string first = words.empty() ? "" : words[0];
  StatusOr<RunView> view = load_run(client, first);
  if (view.status().code() == absl::StatusCode::kNotFound && words.size() == 1) {  // perhaps a stage of the latest run
    StatusOr<RunView> latest = load_run(client, "");
    if (latest.ok() && latest->run.index.count(first) != 0) return RunAndStage{*std::move(latest), first};
  }
  if (!view.ok()) return view.status();
  return with_stage(*std::move(view), words.size() > 1 ? words[1] : "");
}

StatusOr<std::vector<std::string>> runs_of(client::Client& client, const std::string& run_or_batch) {
  v1::GetBatchRequest request;
  request.set_batch(run_or_batch);
  const StatusOr<v1::GetBatchResponse> batch = client.call(request);
  if (batch.status().code() == absl::StatusCode::kNotFound) return std::vector<std::string>{run_or_batch};
  if (!batch.ok()) return batch.status();
  std::vector<std::string> runs;
  for (const v1::Run& run : batch->runs()) runs.push_back(run.id());
  return runs;
}

std::vector<spec::Diagnostic> diagnostics_of(const google::protobuf::RepeatedPtrField<v1::Diagnostic>& diagnostics) {
  std::vector<spec::Diagnostic> all;
  for (const v1::Diagnostic& from : diagnostics) {
    all.push_back({.code = from.code(),
                   .file = from.file(),
                   .line = std::max(1, from.line()),
                   .column = std::max(1, from.column()),
                   .length = std::max(1, from.length()),
                   .message = from.message(),
                   .hint = from.hint()});
  }
  return all;
}

std::string render(const std::vector<spec::Diagnostic>& diagnostics, const SourceFile& source, bool color) {
  std::string out;
  for (size_t begin = 0, end = 0; begin < diagnostics.size(); begin = end) {
    const std::string& file = diagnostics[begin].file;
    while (end < diagnostics.size() && diagnostics[end].file == file) ++end;
    const std::vector<spec::Diagnostic> of_file(diagnostics.begin() + static_cast<std::ptrdiff_t>(begin),
                                                diagnostics.begin() + static_cast<std::ptrdiff_t>(end));
    StatusOr<std::string> text = source.text;
    if (file != source.name) {
      const bool is_absolute = file.rfind('/', 0) == 0;
      text = base::read_file(base::posix_env(), is_absolute ? file : base::join_path(source.working_folder, file));
    }
    out += spec::render_text(of_file, text.ok() ? *text : "", color);
  }
  return out;
}

}  // namespace gridquant::cli
