// A data set: the first byte chooses the format, the rest is the file.
#include "engine/text/documents.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {

void documents(std::string_view bytes) {
  if (bytes.empty()) return;
  static const StatusOr<text::ChatTemplate> chat = text::ChatTemplate::make(
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "chat_template.jinja", {});
  require(chat.ok(), "the built-in template is refused");
  const unsigned choice = static_cast<unsigned char>(bytes.front());
  constexpr text::TextFormat kFormats[] = {text::TextFormat::kText, text::TextFormat::kJsonl, text::TextFormat::kCsv,
                                           text::TextFormat::kTsv};
  text::DocumentsSpec spec;
  spec.path = "data";
  spec.format = kFormats[choice % 4];
  spec.field = (choice & 4) != 0 ? "text" : "";
  spec.header = (choice & 8) != 0;
  const auto found = text::parse_documents(bytes.substr(1), spec, (choice & 16) != 0 ? &chat : nullptr);
  if (!found.ok()) return;
  for (const text::Document& document : found->list) require(!document.text.empty(), "a document without text");
}

}  // namespace gridquant::fuzz
