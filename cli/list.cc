// gridquant list: the runs of a work folder or of a coordinator.
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "cli/run_output.h"
#include "coordinator/deliver/times.h"
#include "coordinator/store/workdir.h"
#include "engine/base/clock.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

constexpr int kPageSize = 1'000;

struct ListOptions {
  std::string format, pipeline, batch;
  int limit = 0;  // 0: all
};

StatusOr<json> local_runs(const std::string& workdir) {
  GQ_ASSIGN_OR_RETURN(const auto store, store::open_sqlite_store(workdir, store::Access::kReadOnly));
  GQ_ASSIGN_OR_RETURN(const std::vector<store::RunRow> rows, store->runs());
  const bool in_use = store::is_in_use(workdir);
  json list = json::array();
  for (const store::RunRow& row : rows) {
    const bool unfinished = row.finished_ms == 0;
    json item = {{"run", row.id}, {"pipeline", row.pipeline}, {"created", deliver::show_utc(row.created_ms)}};
    item["state"] = unfinished && !in_use ? "interrupted" : row.state;
    if (!unfinished) item["seconds"] = static_cast<double>(row.finished_ms - row.created_ms) / 1000.0;
    list.push_back(std::move(item));
  }
  return list;
}

json remote_run(const v1::Run& run) {
  json item = {{"run", run.id()},
               {"pipeline", run.pipeline()},
               {"created", deliver::show_utc(run.created_ms())},
               {"state", word_of(run.state())},
               {"paused", run.paused()},
               {"queue", run.queue()},
               {"priority", run.priority()},
               {"stagesOver", run.stages_over()},
               {"stagesTotal", run.stages_total()}};
  if (!run.batch().empty()) item["batch"] = run.batch();
  if (run.started_ms() > 0) {
    const int64_t end_ms = run.finished_ms() > 0 ? run.finished_ms() : base::system_clock().wall_ms();
    item["seconds"] = static_cast<double>(std::max<int64_t>(0, end_ms - run.started_ms())) / 1000.0;
  }
  return item;
}

// Oldest first, as a work folder's.
StatusOr<json> remote_runs(client::Client& client, const ListOptions& options) {
  std::vector<json> latest_first;
  v1::ListRunsRequest request;
  request.set_page_size(options.limit > 0 ? std::min(options.limit, kPageSize) : kPageSize);
  request.set_pipeline(options.pipeline);
  request.set_batch(options.batch);
  const size_t limit = options.limit > 0 ? static_cast<size_t>(options.limit) : SIZE_MAX;
  do {
    GQ_ASSIGN_OR_RETURN(const v1::ListRunsResponse answer, client.call(request));
    for (const v1::Run& run : answer.runs()) {
      if (latest_first.size() < limit) latest_first.push_back(remote_run(run));
    }
    request.set_page_token(answer.next_page_token());
  } while (!request.page_token().empty() && latest_first.size() < limit);
  return json(std::vector<json>(latest_first.rbegin(), latest_first.rend()));
}

json chosen(const json& all, const ListOptions& options) {
  json list = json::array();
  for (const json& item : all) {
    const bool wanted = options.pipeline.empty() || item["pipeline"] == options.pipeline;
    if (wanted && (options.batch.empty() || item.value("batch", "") == options.batch)) list.push_back(item);
  }
  const size_t limit = static_cast<size_t>(options.limit);
  if (limit > 0 && list.size() > limit) list.erase(list.begin(), list.end() - static_cast<std::ptrdiff_t>(limit));
  return list;
}

void print(Invocation& invocation, const json& list, bool wide) {
  std::vector<std::vector<std::string>> rows;
  if (wide) rows.push_back({"RUN", "STATE", "CREATED", "TIME", "PIPELINE", "STAGES", "QUEUE", "PRIORITY", "BATCH"});
  for (const json& item : list) {
    std::string state = item["state"].get<std::string>();
    if (item.value("paused", false) && state == "running") state = "paused";
    std::vector<std::string> row = {item["run"].get<std::string>(), state, item["created"].get<std::string>(),
                                    item.contains("seconds") ? show_seconds(item["seconds"].get<double>()) : ""};
    if (wide) {
      const bool counted = item.contains("stagesTotal");
      row.push_back(item["pipeline"].get<std::string>());
      row.push_back(counted ? item["stagesOver"].dump() + "/" + item["stagesTotal"].dump() : "");
      row.push_back(item.value("queue", ""));
      row.push_back(item.contains("priority") ? item["priority"].dump() : "");
      row.push_back(item.value("batch", ""));
    }
    rows.push_back(std::move(row));
  }
  print_table(invocation, rows);
}

void list_runs(Invocation& invocation, const Place& place, const ListOptions& options) {
  StatusOr<json> list = json();
  if (place.remote()) {
    list = remote_runs(*connect(place), options);
  } else {
    list = local_runs(absolute(invocation, place.workdir));
    if (list.ok()) list = chosen(*list, options);
  }
  if (!list.ok()) return fail(invocation, options.format, list.status(), exit_code_of(list.status()));
  if (print_data(invocation, options.format, *list)) return;
  if (list->empty()) {
    invocation.err << "no such run yet\n";
  } else {
    print(invocation, *list, options.format == "wide");
  }
}

}  // namespace

void add_list(Command app, Invocation& invocation) {
  const Command command = app.add_command("list", "Lists the runs of the work folder, or of a coordinator");
  const auto options = std::make_shared<ListOptions>();
  const auto place = add_place_options(command, invocation);
  command.add_option("--pipeline", options->pipeline, "Only runs of this pipeline");
  command.add_option("--batch", options->batch, "Only runs of this batch");
  command.add_option("--limit", options->limit, "Only the latest so many").in_range(1, 1'000'000);
  add_view_format_option(command, options->format);
  command.on_given([&invocation, place, options] { list_runs(invocation, *place, *options); });
}

}  // namespace gridquant::cli
