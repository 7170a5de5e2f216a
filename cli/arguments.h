// The command line: commands, their options, what is called when one is given. Over CLI11, whose header takes five
// seconds to compile in every file that includes it; only arguments.cc and completion.cc do. Not what commands do.
//
// Command and Option are handles, cheap to copy, into a CommandLine, which they must not outlive. What options write to
// must outlive CommandLine::parse. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace gridquant::cli {

class Option {
 public:
  Option() = default;  // of no command: never given
  explicit Option(CLI::Option* option) : option_(option) {}

  // Each changes the option and returns it. What a value must not be is refused by CommandLine::parse.
  Option required() const;
  Option shows_default() const;  // --help says the value that the variable has now
  Option hidden() const;
  Option under(const std::string& heading) const;  // where --help shows it
  Option one_each() const;                         // of a list: one value per mention
  Option last_wins() const;                        // may be given more than once
  Option excludes(Option other) const;
  Option one_of(const std::vector<std::string>& values) const;
  Option in_range(int64_t least, int64_t most) const;
  Option between(double least, double most) const;
  Option at_most(size_t characters) const;
  Option in_bytes() const;        // takes "64Gi"; K, M, G are powers of 1024 too
  Option duration_in_ms() const;  // takes "90s", "10m", "2h"; without a unit: seconds

  explicit operator bool() const { return option_ != nullptr; }
  bool given() const;

 private:
  CLI::Option* option_ = nullptr;
};

class Command {
 public:
  explicit Command(CLI::App* app) : app_(app) {}

  Command add_command(const std::string& name, const std::string& help) const;
  void require_command() const;  // one of those added
  void hide() const;
  void set_footer(const std::string& text) const;  // of --help
  void on_given(std::function<void()> action) const;

  // `name`: "-f,--force", or "RUN" for a positional argument.
  Option add_flag(const std::string& name, bool& value, const std::string& help) const;
  Option add_option(const std::string& name, std::string& value, const std::string& help) const;
  Option add_option(const std::string& name, std::vector<std::string>& values, const std::string& help) const;
  Option add_option(const std::string& name, int& value, const std::string& help) const;
  Option add_option(const std::string& name, int64_t& value, const std::string& help) const;
  Option add_option(const std::string& name, uint64_t& value, const std::string& help) const;
  Option add_option(const std::string& name, double& value, const std::string& help) const;
  // A positional argument that `take` is called with, if it is given.
  Option add_word(const std::string& name, std::function<void(const std::string&)> take, const std::string& help) const;
  void take_rest() const;                 // what follows is not ours to understand:
  std::vector<std::string> rest() const;  // here it is

  const CLI::App& tree() const { return *app_; }  // for completion.cc

 private:
  CLI::App* app_;
};

class CommandLine {
 public:
  CommandLine(const std::string& name, const std::string& description);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Command root() const;
  bool has_command(const std::string& name) const;
  // Does what the command given says (Command::on_given). Asked for --help, prints that to `out`; prints a mistake to
  // `err` and returns false. `words`: without the program's name.
  bool parse(std::vector<std::string> words, std::ostream& out, std::ostream& err) const;

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace gridquant::cli
