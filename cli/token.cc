// gridquant token: a new token for its owner, and the line that makes a coordinator accept it.
#include <algorithm>
#include <cctype>
#include <memory>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "coordinator/auth/tokens.h"

namespace gridquant::cli {
namespace {

struct TokenOptions {
  std::string name, role = "viewer";
};

void print_token(const TokenOptions& options, Invocation& invocation) {
  const bool one_word =
      !options.name.empty() && std::all_of(options.name.begin(), options.name.end(),
                                           [](unsigned char c) { return std::isgraph(c) != 0 && c != '#'; });
  if (!one_word) {
    return fail(invocation, "text", absl::InvalidArgumentError("NAME must be one word, without '#'"), kExitUsage);
  }
  const auth::NewToken made =
      auth::make_token(options.role == "operator" ? auth::Role::kOperator : auth::Role::kViewer, options.name);
  invocation.out << made.token << "\n" << std::flush;
  invocation.err << "Add this line to the file that the coordinator reads (--token-file); it counts within seconds:\n"
                 << made.line << "\n";
}

}  // namespace

void add_token(Command app, Invocation& invocation) {
  const Command command = app.add_command("token", "Makes a token: prints it, and the coordinator's line for it");
  const auto options = std::make_shared<TokenOptions>();
  command.add_option("NAME", options->name, "Whose it is").required();
  command.add_option("--role", options->role, "viewer looks, operator also changes")
      .one_of({"viewer", "operator"})
      .shows_default();
  command.set_footer("  gridquant token alice --role operator > alice.token      # the line is on standard error");
  command.on_given([options, &invocation] { print_token(*options, invocation); });
}

}  // namespace gridquant::cli
