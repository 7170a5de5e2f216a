// Files to documents. Not here: tokens and windows (dataset.cc).
#include "engine/text/documents.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "engine/text/csv.h"
#include "engine/text/json_depth.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr size_t kMaxListed = 20;  // names in a message

StatusOr<TextFormat> format_of(const DocumentsSpec& spec) {
  if (spec.format != TextFormat::kAuto) return spec.format;
  const auto ends = [&](std::string_view end) { return spec.path.ends_with(end); };
  if (ends(".jsonl") || ends(".ndjson")) return TextFormat::kJsonl;
  if (ends(".csv")) return TextFormat::kCsv;
  if (ends(".tsv")) return TextFormat::kTsv;
  if (!ends(".json") && !ends(".parquet")) return TextFormat::kText;
  return absl::InvalidArgumentError(
      spec.path + ": what is in it does not follow from its name; say so with format: " + "text, jsonl, csv or tsv");
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMaxListed); ++i) text += (i > 0 ? ", " : "") + names[i];
  return names.size() > kMaxListed ? text + ", ..." : text;
}

class JsonLines {
 public:
  JsonLines(const DocumentsSpec& spec, const StatusOr<ChatTemplate>* chat) : spec_(spec), chat_(chat) {}

  StatusOr<Documents> run(std::string_view bytes) {
    while (!bytes.empty()) {
      ++line_;
      const size_t end = bytes.find('\n');
      const std::string_view text = bytes.substr(0, end);
      bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
      if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      const Status status = row(text);
      if (!status.ok()) return annotate(status, spec_.path + ":" + std::to_string(line_));
    }
    return std::move(documents_);
  }

 private:
  Status row(std::string_view text) {
    if (too_deep_at(text).has_value()) {
      return absl::InvalidArgumentError("is nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
    }
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded()) return absl::InvalidArgumentError("is not JSON (one object a line is expected)");
    if (!json.is_object())
      return absl::InvalidArgumentError("is no JSON object but a " + std::string(json.type_name()));
    const bool tools = json.contains("tools") && !json.at("tools").is_null() && !json.at("tools").empty();
    if (tools) return leave_out();
    GQ_ASSIGN_OR_RETURN(const std::string field, field_in(json));
    const Json& value = json.at(field);
    if (value.is_array()) return conversation(value);
    if (!value.is_string()) {
      return absl::InvalidArgumentError("\"" + field + "\" is neither a text nor a list of messages but a " +
                                        std::string(value.type_name()));
    }
    if (!value.get_ref<const std::string&>().empty()) documents_.list.push_back({value.get<std::string>(), false});
    return absl::OkStatus();
  }

  StatusOr<std::string> field_in(const Json& json) const {
    if (!spec_.field.empty() && json.contains(spec_.field)) return spec_.field;
    for (const char* name : {"messages", "text"}) {
      if (spec_.field.empty() && json.contains(name)) return name;
    }
    std::vector<std::string> names;
    for (const auto& [name, value] : json.items()) names.push_back(name);
    const std::string wanted = spec_.field.empty() ? "neither \"text\" nor \"messages\"" : "no \"" + spec_.field + "\"";
    return absl::InvalidArgumentError("has " + wanted + "; its fields are " + listed(names) + " (choose with field)");
  }

  Status leave_out() {
    if (documents_.with_tools++ == 0) documents_.first_line_with_tools = line_;
    return absl::OkStatus();
  }

  Status conversation(const Json& messages) {
    if (has_tools(messages)) return leave_out();
    if (chat_ != nullptr) {
      if (!chat_->ok()) {
        return absl::FailedPreconditionError("is a conversation, but " + std::string(chat_->status().message()) +
                                             " (chatTemplate: none takes the contents of the messages alone)");
      }
      GQ_ASSIGN_OR_RETURN(std::string text, (*chat_)->render(messages, /*add_generation_prompt=*/false));
      if (!text.empty()) documents_.list.push_back({std::move(text), true});
      return absl::OkStatus();
    }
    GQ_ASSIGN_OR_RETURN(const Json checked, checked_messages(messages));
    std::string text;
    for (const Json& message : checked) {
      const Json& content = message.at("content");
      std::string own = content.is_string() ? content.get<std::string>() : "";
      for (size_t i = 0; content.is_array() && i < content.size(); ++i) own += content[i].at("text").get<std::string>();
      if (!own.empty()) text += (text.empty() ? "" : "\n\n") + own;
    }
    if (!text.empty()) documents_.list.push_back({std::move(text), false});
    return absl::OkStatus();
  }

  const DocumentsSpec& spec_;
  const StatusOr<ChatTemplate>* chat_;
  int64_t line_ = 0;
  Documents documents_;
};

// The column that `field` names, from 0.
StatusOr<size_t> column_of(const std::vector<std::string>& first, const DocumentsSpec& spec) {
  const std::string field = spec.field.empty() && spec.header ? "text" : spec.field;
  if (spec.header) {
    const auto found = std::find(first.begin(), first.end(), field);
    if (found != first.end()) return static_cast<size_t>(found - first.begin());
  }
  size_t number = 0;
  const auto parsed = std::from_chars(field.data(), field.data() + field.size(), number);
  const bool is_number = !field.empty() && parsed.ec == std::errc() && parsed.ptr == field.data() + field.size();
  if (is_number && number >= 1 && number <= first.size()) return number - 1;
  const std::string columns = spec.header ? "its columns are " + listed(first)
                                          : "it has " + std::to_string(first.size()) + " columns, numbered from 1";
  return absl::InvalidArgumentError("has no column \"" + field + "\"; " + columns + " (choose with field)");
}

StatusOr<Documents> parse_columns(std::string_view bytes, const DocumentsSpec& spec, char separator) {
  const StatusOr<std::vector<CsvRow>> rows = parse_csv(bytes, separator);
  if (!rows.ok()) return absl::InvalidArgumentError(spec.path + ":" + std::string(rows.status().message()));
  Documents documents;
  if (rows->empty()) return documents;
  const auto where = [&](const CsvRow& row) { return spec.path + ":" + std::to_string(row.line); };
  const StatusOr<size_t> column = column_of(rows->front().fields, spec);
  if (!column.ok()) return annotate(column.status(), where(rows->front()));
  const size_t width = rows->front().fields.size();
  for (size_t i = spec.header ? 1 : 0; i < rows->size(); ++i) {
    const CsvRow& row = (*rows)[i];
    if (row.fields.size() != width) {
      return absl::InvalidArgumentError(where(row) + ": has " + std::to_string(row.fields.size()) +
                                        " fields, the first row has " + std::to_string(width));
    }
    if (!row.fields[*column].empty()) documents.list.push_back({row.fields[*column], false});
  }
  return documents;
}

}  // namespace

TextFormat text_format(std::string_view name) {
  if (name == "text") return TextFormat::kText;
  if (name == "jsonl") return TextFormat::kJsonl;
  if (name == "csv") return TextFormat::kCsv;
  return name == "tsv" ? TextFormat::kTsv : TextFormat::kAuto;
}

StatusOr<Documents> parse_documents(std::string_view bytes, const DocumentsSpec& spec,
                                    const StatusOr<ChatTemplate>* chat) {
  GQ_ASSIGN_OR_RETURN(const TextFormat format, format_of(spec));
  const size_t invalid = first_invalid_utf8(bytes);
  if (invalid != kAllValid) {
    const auto line = 1 + std::count(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(invalid), '\n');
    return absl::InvalidArgumentError(spec.path + ":" + std::to_string(line) + ": is not UTF-8 at line " +
                                      std::to_string(line) + ", byte " + std::to_string(invalid));
  }
  if (format == TextFormat::kText) {
    Documents documents;
    if (!spec.field.empty()) {
      return absl::InvalidArgumentError(spec.path + ": a plain text has no fields, so field must not be given");
    }
    if (!bytes.empty()) documents.list.push_back({std::string(bytes), false});
    return documents;
  }
  if (bytes.starts_with(kByteOrderMark)) bytes.remove_prefix(kByteOrderMark.size());
  if (format == TextFormat::kJsonl) return JsonLines(spec, chat).run(bytes);
  return parse_columns(bytes, spec, format == TextFormat::kCsv ? ',' : '\t');
}

}  // namespace gridquant::text
