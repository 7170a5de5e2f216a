// Options that several subcommands share, and how they end with an error.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "engine/base/status.h"

namespace gridquant::cli {

struct Invocation;

// The words of load_run_and_stage (run_view.h): [RUN] [STAGE], each of which may be left out. `run` explains RUN.
void add_run_and_stage(Command command, std::vector<std::string>& words, const std::string& run);
Option add_workdir_option(Command command, std::string& workdir);  // default .gridquant
void add_format_option(Command command, std::string& format);      // -o, --format, --output: text or json
// The same with wide (text with more columns) and yaml.
void add_view_format_option(Command command, std::string& format);

std::string absolute(const Invocation& invocation, const std::string& path);  // normalized

void print_json(Invocation& invocation, const nlohmann::json& value);  // indented
// `value` in a format of add_view_format_option that is not for people; false if `format` is.
bool print_data(Invocation& invocation, const std::string& format, const nlohmann::json& value);
// Columns as wide as they need to be.
void print_table(Invocation& invocation, const std::vector<std::vector<std::string>>& rows);

int exit_code_of(const Status& status);          // of gridquant
int exit_code_of_refusal(const Status& status);  // the same where "not in that state" is a coordinator's answer

// Prints the error (in `format`) and sets the exit code.
void fail(Invocation& invocation, const std::string& format, const Status& status, int exit_code);

}  // namespace gridquant::cli
