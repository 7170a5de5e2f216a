// See common_options.h.
#include "cli/common_options.h"

#include <algorithm>
#include <filesystem>
#include <ostream>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/yaml_text.h"
#include "coordinator/client/errors.h"

namespace gridquant::cli {

using nlohmann::json;

Option add_workdir_option(Command command, std::string& workdir) {
  workdir = ".gridquant";
  return command.add_option("--workdir", workdir, "Work folder: state, logs and stored results").shows_default();
}

void add_run_and_stage(Command command, std::vector<std::string>& words, const std::string& run) {
  const auto add = [&words](const std::string& word) { words.push_back(word); };
  command.add_word("RUN", add, run);
  command.add_word("STAGE", add, "One of its stages (default: all)");
}

void add_format_option(Command command, std::string& format) {
  format = "text";
  command.add_option("-o,--format,--output", format, "text or json").one_of({"text", "json"}).shows_default();
}

void add_view_format_option(Command command, std::string& format) {
  format = "text";
  command.add_option("-o,--format,--output", format, "text, wide, json or yaml")
      .one_of({"text", "wide", "json", "yaml"})
      .shows_default();
}

void print_json(Invocation& invocation, const json& value) {
  invocation.out << value.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
}

bool print_data(Invocation& invocation, const std::string& format, const json& value) {
  if (format == "json") print_json(invocation, value);
  if (format == "yaml") invocation.out << to_yaml(nlohmann::ordered_json(value));
  return format == "json" || format == "yaml";
}

void print_table(Invocation& invocation, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - row[i].size() + 2, ' ');
    }
    invocation.out << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
  }
}

int exit_code_of(const Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kUnimplemented:  // what answers is no coordinator
    case absl::StatusCode::kDeadlineExceeded:
      return kExitUnreachable;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kResourceExhausted:
      return kExitRefused;
    default:
      return kExitUsage;
  }
}

int exit_code_of_refusal(const Status& status) {
  return status.code() == absl::StatusCode::kFailedPrecondition ? kExitRefused : exit_code_of(status);
}

std::string absolute(const Invocation& invocation, const std::string& path) {
  std::filesystem::path full(path);
  if (full.is_relative()) full = std::filesystem::path(invocation.working_folder) / full;
  std::string text = full.lexically_normal().string();
  if (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

void fail(Invocation& invocation, const std::string& format, const Status& status, int exit_code) {
  const std::string message(status.message());
  const auto detail = client::error_detail(status);
  const std::string hint = detail ? detail->hint() : "";
  if (format == "json") {
    json error = {
        {"event", "error"}, {"code", std::string(absl::StatusCodeToString(status.code()))}, {"message", message}};
    if (!hint.empty()) error["hint"] = hint;
    invocation.out << error.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
  } else {
    invocation.err << "error: " << message << "\n";
    if (!hint.empty()) invocation.err << "  hint: " << hint << "\n";
  }
  invocation.exit_code = exit_code;
}

}  // namespace gridquant::cli
