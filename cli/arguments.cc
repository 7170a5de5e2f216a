// See arguments.h.
#include "cli/arguments.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

#include <CLI/CLI.hpp>

namespace gridquant::cli {
namespace {

std::string milliseconds_of(std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::map<std::string, double> units = {{"ms", 1}, {"s", 1e3}, {"", 1e3}, {"m", 6e4}, {"h", 3.6e6}};
  const auto unit = units.find(end);
  const bool fits = end != text.c_str() && unit != units.end() && number >= 0 && number * unit->second <= 1e13;
  if (!fits) return "'" + text + "' is no duration such as 90s, 10m or 2h";
  text = std::to_string(static_cast<int64_t>(number * unit->second));
  return "";
}

}  // namespace

Option Option::required() const {
  return Option(option_->required());
}
Option Option::shows_default() const {
  return Option(option_->capture_default_str());
}
Option Option::hidden() const {
  return under("");
}
Option Option::under(const std::string& heading) const {
  return Option(option_->group(heading));
}
Option Option::one_each() const {
  return Option(option_->allow_extra_args(false));
}
Option Option::last_wins() const {
  return Option(option_->take_last());
}
Option Option::excludes(Option other) const {
  return Option(option_->excludes(other.option_));
}
Option Option::one_of(const std::vector<std::string>& values) const {
  return Option(option_->check(CLI::IsMember(values)));
}
Option Option::in_range(int64_t least, int64_t most) const {
  return Option(option_->check(CLI::Range(least, most)));
}
Option Option::between(double least, double most) const {
  return Option(option_->check(CLI::Range(least, most)));
}
Option Option::at_most(size_t characters) const {
  return Option(option_->check([characters](const std::string& value) {
    return value.size() <= characters ? "" : "at most " + std::to_string(characters) + " characters";
  }));
}
Option Option::in_bytes() const {
  return Option(option_->transform(CLI::AsSizeValue(/*kb_is_1000=*/false)));
}
Option Option::duration_in_ms() const {
  return Option(option_->transform(CLI::Validator(milliseconds_of, "DURATION", "duration")));
}
bool Option::given() const {
  return option_ != nullptr && option_->count() > 0;
}

Command Command::add_command(const std::string& name, const std::string& help) const {
  return Command(app_->add_subcommand(name, help));
}
void Command::require_command() const {
  app_->require_subcommand(1);
}
void Command::hide() const {
  app_->group("");
}
void Command::set_footer(const std::string& text) const {
  app_->footer(text);
}
void Command::on_given(std::function<void()> action) const {
  app_->callback(std::move(action));
}

Option Command::add_flag(const std::string& name, bool& value, const std::string& help) const {
  return Option(app_->add_flag(name, value, help));
}
Option Command::add_option(const std::string& name, std::string& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, std::vector<std::string>& values, const std::string& help) const {
  return Option(app_->add_option(name, values, help));
}
Option Command::add_option(const std::string& name, int& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, int64_t& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, uint64_t& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, double& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_word(const std::string& name, std::function<void(const std::string&)> take,
                         const std::string& help) const {
  return Option(app_->add_option_function<std::string>(name, take, help));
}
void Command::take_rest() const {
  app_->prefix_command();
}
std::vector<std::string> Command::rest() const {
  return app_->remaining();
}

CommandLine::CommandLine(const std::string& name, const std::string& description)
    : app_(std::make_unique<CLI::App>(description, name)) {}
CommandLine::~CommandLine() = default;

Command CommandLine::root() const {
  return Command(app_.get());
}

bool CommandLine::has_command(const std::string& name) const {
  return !app_->get_subcommands([&](const CLI::App* command) { return command->check_name(name); }).empty();
}

bool CommandLine::parse(std::vector<std::string> words, std::ostream& out, std::ostream& err) const {
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app_->parse(std::move(words));
  } catch (const CLI::ParseError& problem) {
    app_->exit(problem, out, err);
    return problem.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
  }
  return true;
}

}  // namespace gridquant::cli
