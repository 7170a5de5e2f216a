// gq-chat IN_JSONL OUT_JSONL: renders what each line asks for. For tests/interop/chat.py.
//
// {"template": SOURCE, "tokens": {"bos_token": ...}, "messages": [...], "add_generation_prompt": true, "date": [Y, M,
// D]} goes through a chat template, {"jinja": SOURCE, "variables": {...}} through the language alone. A line of the
// output is {"text": ...} or {"error": ...}.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "engine/base/env.h"
#include "engine/text/chat_template.h"

namespace gridquant {
namespace {

using Json = nlohmann::ordered_json;

text::jinja::Date date_of(const Json& request) {
  if (!request.contains("date")) return {};
  const Json& date = request.at("date");
  return {date.at(0).get<int>(), date.at(1).get<int>(), date.at(2).get<int>()};
}

StatusOr<std::string> answer(const Json& request) {
  if (request.contains("jinja")) {
    GQ_ASSIGN_OR_RETURN(const auto parsed,
                        text::jinja::Template::parse(request.at("jinja").get<std::string>(), "template"));
    return parsed.render(request.at("variables"), date_of(request));
  }
  text::SpecialTokens tokens;
  for (const auto& [name, token] : request.at("tokens").items()) tokens.emplace_back(name, token.get<std::string>());
  GQ_ASSIGN_OR_RETURN(const auto chat, text::ChatTemplate::make(request.at("template").get<std::string>(), "template",
                                                                std::move(tokens)));
  return chat.render(request.at("messages"), request.at("add_generation_prompt").get<bool>(), date_of(request));
}

Status run(const std::string& in, const std::string& out) {
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(base::posix_env(), in));
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) {
    const StatusOr<std::string> rendered = answer(Json::parse(line));
    const Json reply =
        rendered.ok() ? Json{{"text", *rendered}} : Json{{"error", std::string(rendered.status().message())}};
    result += reply.dump() + "\n";
  }
  return base::write_file_atomically(base::posix_env(), out, result);
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: gq-chat IN_JSONL OUT_JSONL\n");
    return 2;
  }
  const gridquant::Status status = gridquant::run(argv[1], argv[2]);
  if (!status.ok()) std::fprintf(stderr, "gq-chat: %s\n", std::string(status.message()).c_str());
  return static_cast<int>(gridquant::exit_code_for(status));
}
