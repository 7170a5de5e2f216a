// A chat template, and a conversation through what was accepted.
#include "engine/text/chat_template.h"

#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {

void chat_template(std::string_view bytes) {
  const auto made =
      text::ChatTemplate::make(bytes, "chat_template.jinja", {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  if (!made.ok()) return;
  const nlohmann::ordered_json messages = {{{"role", "system"}, {"content", "Be brief."}},
                                           {{"role", "user"}, {"content", "안녕 {{ x }}"}},
                                           {{"role", "assistant"}, {"content", "Hello.\n"}},
                                           {{"role", "user"}, {"content", "?"}}};
  for (const bool prompt : {false, true}) made->render(messages, prompt).status().IgnoreError();
}

}  // namespace gridquant::fuzz
