// json.dumps, as transformers' tojson calls it.
#include <algorithm>
#include <cmath>

#include "engine/text/template/python_text.h"
#include "engine/text/utf8.h"

namespace gridquant::text::jinja {
namespace {

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  Status write(const Value& value, int64_t level) {
    if (value.is_text()) return text(value.text());
    if (value.is_none()) return plain("null");
    if (value.is_bool()) return plain(value.whole() != 0 ? "true" : "false");
    if (value.is_whole()) return plain(std::to_string(value.whole()));
    if (const double* d = value.get<double>()) return plain(number(*d));
    if (const Dict* dict = value.dict()) return members(*dict, level);
    const Sequence* sequence = value.sequence();
    const bool list = sequence != nullptr &&
                      (sequence->flavor == Sequence::Flavor::kList || sequence->flavor == Sequence::Flavor::kTuple);
    if (!list) return absl::InvalidArgumentError("a " + type_of(value) + " cannot be written as JSON");
    return items(sequence->items, level);
  }

  std::string take() { return std::move(out_); }

 private:
  Status plain(std::string_view text) {
    out_ += text;
    return absl::OkStatus();
  }

  static std::string number(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
    return float_text(d);
  }

  void unicode_escape(char32_t unit) {
    static const char* const kHex = "0123456789abcdef";
    out_ += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out_ += kHex[unit >> shift & 0xF];
  }

  Status text(const std::string& text) {
    out_ += '"';
    for (const std::string_view character : split_characters(text)) {
      const char32_t c = code_point_at(character, 0).value;
      static constexpr std::string_view kShort = "\"\\\n\r\t\b\f";
      const size_t at = c < 0x80 ? kShort.find(static_cast<char>(c)) : std::string_view::npos;
      if (at != std::string_view::npos) {
        out_ += '\\';
        out_ += "\"\\nrtbf"[at];
      } else if (c < 0x20) {
        unicode_escape(c);
      } else if (style_.ascii && c > 0x7E) {
        if (c <= 0xFFFF) {
          unicode_escape(c);
        } else {
          unicode_escape(0xD800 + ((c - 0x10000) >> 10));
          unicode_escape(0xDC00 + ((c - 0x10000) & 0x3FF));
        }
      } else {
        out_ += character;
      }
    }
    return plain("\"");
  }

  void line(int64_t level) {
    if (!style_.indent.has_value()) return;
    out_ += '\n';
    out_.append(static_cast<size_t>(*style_.indent * level), ' ');
  }

  // With an indent, Python ends a line's item with the separator less its blank.
  void separate(bool first, int64_t level) {
    if (!first) out_ += style_.item_separator;
    line(level);
  }

  Status items(const std::vector<Value>& values, int64_t level) {
    if (values.empty()) return plain("[]");
    out_ += '[';
    for (size_t i = 0; i < values.size(); ++i) {
      separate(i == 0, level + 1);
      GQ_RETURN_IF_ERROR(write(values[i], level + 1));
    }
    line(level);
    return plain("]");
  }

  static StatusOr<std::string> key_text(const Value& key) {
    if (key.is_text()) return key.text();
    if (key.is_none()) return "null";
    if (key.is_bool()) return key.whole() != 0 ? "true" : "false";
    if (key.is_whole()) return std::to_string(key.whole());
    if (const double* d = key.get<double>()) return number(*d);
    return absl::InvalidArgumentError("a " + type_of(key) + " cannot be a key in JSON");
  }

  Status members(const Dict& dict, int64_t level) {
    if (dict.items.empty()) return plain("{}");
    std::vector<const std::pair<Value, Value>*> order;
    for (const auto& item : dict.items) order.push_back(&item);
    if (style_.sort_keys) {
      for (const auto& item : dict.items) GQ_RETURN_IF_ERROR(compare(item.first, dict.items.front().first).status());
      std::stable_sort(order.begin(), order.end(),
                       [](const auto* a, const auto* b) { return compare(a->first, b->first).value_or(0) < 0; });
    }
    out_ += '{';
    for (size_t i = 0; i < order.size(); ++i) {
      separate(i == 0, level + 1);
      GQ_ASSIGN_OR_RETURN(const std::string key, key_text(order[i]->first));
      GQ_RETURN_IF_ERROR(text(key));
      out_ += style_.key_separator;
      GQ_RETURN_IF_ERROR(write(order[i]->second, level + 1));
    }
    line(level);
    return plain("}");
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

StatusOr<std::string> json_text(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  GQ_RETURN_IF_ERROR(writer.write(value, 0));
  return writer.take();
}

}  // namespace gridquant::text::jinja
