// gridquant completion: what a shell completes on Tab. The scripts are three stubs that ask this program, which looks
// its commands and options up in the same tables that parse them: nothing here can go stale.
#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_split.h"
#include "cli/command.h"

namespace gridquant::cli {
namespace {

// Candidates, one a line; the line ":files" means names of files as well.
constexpr char kFiles[] = ":files";

constexpr char kBash[] = R"(# bash: source <(gridquant completion bash)
_gridquant() {
  local candidate
  COMPREPLY=()
  while IFS= read -r candidate; do
    if [ "$candidate" = :files ]; then
      compopt -o default 2>/dev/null
    else
      COMPREPLY+=("$candidate")
    fi
  done < <("${COMP_WORDS[0]}" completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _gridquant gridquant
)";

constexpr char kZsh[] = R"(#compdef gridquant
# zsh: source <(gridquant completion zsh)
_gridquant() {
  local -a candidates
  candidates=("${(@f)$(${words[1]} completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if (( ${candidates[(I):files]} )); then
    _files
  fi
  compadd -- ${candidates:#:files}
}
compdef _gridquant gridquant
)";

constexpr char kFish[] = R"(# fish: gridquant completion fish | source
function __gridquant_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for candidate in ($words[1] completion words -- $words[2..-1] "$current" 2>/dev/null)
        if test "$candidate" = :files
            __fish_complete_path "$current"
        else
            echo $candidate
        end
    end
end
complete -c gridquant -f -a '(__gridquant_complete)'
)";

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

bool visible(const CLI::Option& option) {
  return !option.get_group().empty();
}

// What CLI::IsMember allows; it shows as "TEXT:{text,json}".
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.rfind('}');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  return absl::StrSplit(type.substr(open + 1, close - open - 1), ',');
}

const CLI::Option* find_option(const CLI::App& command, const std::string& word) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->check_name(word)) return option;
  }
  return nullptr;
}

// Where the words before the one to complete lead: a command, and perhaps an option that waits for its value.
struct Cursor {
  const CLI::App* command;
  const CLI::Option* waiting = nullptr;
  size_t positionals = 0;
};

Cursor follow(const CLI::App& app, const std::vector<std::string>& words) {
  Cursor cursor{.command = &app};
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (cursor.waiting != nullptr) {
      cursor.waiting = nullptr;
    } else if (word.starts_with("-")) {
      const CLI::Option* option = word.find('=') == std::string::npos ? find_option(*cursor.command, word) : nullptr;
      if (option != nullptr && takes_value(*option)) cursor.waiting = option;
    } else {
      const auto commands = cursor.command->get_subcommands([&](const CLI::App* one) { return one->check_name(word); });
      if (commands.empty()) {
        ++cursor.positionals;
      } else {
        cursor.command = commands.front();
      }
    }
  }
  return cursor;
}

// The positional option that the next word goes to; null if there is none.
const CLI::Option* next_positional(const Cursor& cursor) {
  size_t skip = cursor.positionals;
  for (const CLI::Option* option : cursor.command->get_options()) {
    if (!option->get_positional() || !visible(*option)) continue;
    const auto most = static_cast<size_t>(std::max(option->get_items_expected_max(), 1));
    if (skip < most) return option;
    skip -= most;
  }
  return nullptr;
}

std::vector<std::string> candidates_at(const Cursor& cursor, const std::string& word) {
  if (cursor.waiting != nullptr) {
    const std::vector<std::string> choices = choices_of(*cursor.waiting);
    return choices.empty() ? std::vector<std::string>{kFiles} : choices;
  }
  std::vector<std::string> found;
  if (word.starts_with("-")) {
    for (const CLI::Option* option : cursor.command->get_options()) {
      if (!visible(*option)) continue;
      for (const std::string& name : option->get_lnames()) found.push_back("--" + name);
      for (const std::string& name : option->get_snames()) found.push_back("-" + name);
    }
    return found;
  }
  for (const CLI::App* command : cursor.command->get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) found.push_back(command->get_name());
  }
  const CLI::Option* positional = next_positional(cursor);
  if (positional != nullptr) {
    const std::vector<std::string> choices = choices_of(*positional);
    found.insert(found.end(), choices.begin(), choices.end());
    if (choices.empty()) found.push_back(kFiles);
  }
  return found;
}

void complete(const CLI::App& app, const std::vector<std::string>& words, Invocation& invocation) {
  const std::string word = words.empty() ? "" : words.back();
  for (const std::string& candidate : candidates_at(follow(app, words), word)) {
    if (candidate == kFiles || candidate.starts_with(word)) invocation.out << candidate << "\n";
  }
}

}  // namespace

void add_completion(Command app, Invocation& invocation) {
  const Command command = app.add_command("completion", "Prints the completion script of a shell");
  command.require_command();
  for (const auto& [shell, script] : {std::pair{"bash", kBash}, {"zsh", kZsh}, {"fish", kFish}}) {
    const Command one = command.add_command(shell, std::string("For ") + shell + "; its first line says how to use it");
    one.on_given([script = script, &invocation] { invocation.out << script; });
  }
  const Command words = command.add_command("words", "What may stand in place of the last of these words");
  words.hide();
  const auto given = std::make_shared<std::vector<std::string>>();
  words.add_option("WORDS", *given, "");
  words.on_given([app, given, &invocation] { complete(app.tree(), *given, invocation); });
}

}  // namespace gridquant::cli
