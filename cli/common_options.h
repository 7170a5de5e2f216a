// Options that several subcommands share, and how they end with an error.
#pragma once

#include <string>

#include "engine/base/status.h"

namespace CLI {
class App;
}

namespace gridquant::cli {

struct Invocation;

void add_workdir_option(CLI::App& command, std::string& workdir);  // default .gridquant
void add_format_option(CLI::App& command, std::string& format);    // -o, --format, --output: text (default) or json

std::string absolute(const Invocation& invocation, const std::string& path);  // normalized

// Prints the error (in `format`) and sets the exit code.
void fail(Invocation& invocation, const std::string& format, const Status& status, int exit_code);

}  // namespace gridquant::cli
