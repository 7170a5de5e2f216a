// A file of calibration or evaluation text -> the documents in it.
//
//   text   the whole file is one document
//   jsonl  one JSON object a line: a text (field "text") or a conversation (field "messages")
//   csv    one row a document, a column of it; tsv the same with tabs
//
// A conversation becomes the text that the model's chat template makes of it, or, without the template, the contents of
// its messages with an empty line between them. Documents without text are left out, and so are conversations with
// tools, which are counted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/chat_template.h"

namespace gridquant::text {

enum class TextFormat { kAuto, kText, kJsonl, kCsv, kTsv };

// "auto", "text", "jsonl", "csv", "tsv"; kAuto for anything else.
TextFormat text_format(std::string_view name);

struct DocumentsSpec {
  std::string path = {};  // for messages, and for kAuto: .jsonl, .ndjson, .csv, .tsv; else text
  TextFormat format = TextFormat::kAuto;
  std::string field = {};  // of a JSON object, or a column by name or number (from 1); "": see above
  bool header = true;      // csv, tsv: the first row names the columns
};

struct Document {
  std::string text;
  bool has_special_tokens = false;  // the template wrote them: none are to be added
};

struct Documents {
  std::vector<Document> list;
  int64_t with_tools = 0;             // conversations left out
  int64_t first_line_with_tools = 0;  // of the file, from 1
};

// `bytes` is the file's content. `chat` null: no template is wanted; its error is returned at the first conversation.
// InvalidArgument, with "PATH:LINE: why" where a
// line is at fault: not UTF-8, not JSON, a field or column that is not there (with those that are), a conversation that
// is none or that the template refuses.
StatusOr<Documents> parse_documents(std::string_view bytes, const DocumentsSpec& spec,
                                    const StatusOr<ChatTemplate>* chat);

}  // namespace gridquant::text
