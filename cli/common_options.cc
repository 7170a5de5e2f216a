// See common_options.h.
#include "cli/common_options.h"

#include <filesystem>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/command.h"

namespace gridquant::cli {

void add_workdir_option(CLI::App& command, std::string& workdir) {
  workdir = ".gridquant";
  command.add_option("--workdir", workdir, "Work folder: state, logs and stored results")->capture_default_str();
}

void add_format_option(CLI::App& command, std::string& format) {
  format = "text";
  command.add_option("-o,--format,--output", format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
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
  if (format == "json") {
    const nlohmann::json error = {
        {"event", "error"}, {"code", std::string(absl::StatusCodeToString(status.code()))}, {"message", message}};
    invocation.out << error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    invocation.err << "error: " << message << "\n";
  }
  invocation.exit_code = exit_code;
}

}  // namespace gridquant::cli
