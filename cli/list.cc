// gridquant list: all runs of a work folder.
#include <iomanip>
#include <ostream>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/run_output.h"
#include "cli/run_view.h"
#include "coordinator/deliver/times.h"
#include "coordinator/store/workdir.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

void list_runs(Invocation& invocation, const std::string& workdir_option, const std::string& format) {
  const std::string workdir = absolute(invocation, workdir_option);
  const auto store = store::open_sqlite_store(workdir, store::Access::kReadOnly);
  if (!store.ok()) return fail(invocation, format, store.status(), exit_code_of(store.status()));
  const auto rows = (*store)->runs();
  if (!rows.ok()) return fail(invocation, format, rows.status(), kExitUsage);
  const bool in_use = store::workdir_is_in_use(workdir);
  json list = json::array();
  for (const store::RunRow& row : *rows) {
    const bool unfinished = row.finished_ms == 0;
    json item = {{"run", row.id}, {"pipeline", row.pipeline}, {"created", deliver::show_utc(row.created_ms)}};
    item["state"] = unfinished && !in_use ? "interrupted" : row.state;
    if (!unfinished) item["seconds"] = static_cast<double>(row.finished_ms - row.created_ms) / 1000.0;
    list.push_back(std::move(item));
  }
  if (format == "json") {
    invocation.out << list.dump(2) << "\n";
    return;
  }
  for (const json& item : list) {
    invocation.out << std::left << std::setw(28) << item["run"].get<std::string>() << std::setw(13)
                   << item["state"].get<std::string>() << std::setw(22) << item["created"].get<std::string>()
                   << (item.contains("seconds") ? show_seconds(item["seconds"].get<double>()) : "") << "\n";
  }
}

}  // namespace

void add_list(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("list", "Lists the runs of the work folder");
  const auto workdir = std::make_shared<std::string>();
  const auto format = std::make_shared<std::string>();
  add_workdir_option(*command, *workdir);
  add_format_option(*command, *format);
  command->callback([&invocation, workdir, format] { list_runs(invocation, *workdir, *format); });
}

}  // namespace gridquant::cli
