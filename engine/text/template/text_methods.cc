// Methods of str. Offsets are in code points, as in Python.
#include "engine/text/template/text_methods.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "engine/text/template/methods.h"
#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"
#include "engine/text/utf8.h"

namespace gridquant::text::jinja {
namespace {

constexpr std::string_view kTextMethods[] = {
    "capitalize",   "casefold",   "center",    "count",       "encode",    "endswith",     "expandtabs",   "find",
    "format",       "format_map", "index",     "isalnum",     "isalpha",   "isascii",      "isdecimal",    "isdigit",
    "isidentifier", "islower",    "isnumeric", "isprintable", "isspace",   "istitle",      "isupper",      "join",
    "ljust",        "lower",      "lstrip",    "maketrans",   "partition", "removeprefix", "removesuffix", "replace",
    "rfind",        "rindex",     "rjust",     "rpartition",  "rsplit",    "rstrip",       "split",        "splitlines",
    "startswith",   "strip",      "swapcase",  "title",       "translate", "upper",        "zfill"};

StatusOr<Value> list_of(std::vector<std::string_view> parts) {
  std::vector<Value> items;
  for (const std::string_view part : parts) items.push_back(Value::of(std::string(part)));
  return make_sequence(Sequence::Flavor::kList, std::move(items));
}

// str.split() at runs of white space.
std::vector<std::string_view> split_at_spaces(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, std::nullopt, true, false);
  while (!text.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.push_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size() && !is_space(code_point_at(text, end).value)) end += code_point_at(text, end).bytes;
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), std::nullopt, true, false);
  }
  return parts;
}

std::vector<std::string_view> rsplit_at_spaces(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, std::nullopt, false, true);
  while (!text.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.push_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0 && !is_space(code_point_before(text, begin).value)) begin -= code_point_before(text, begin).bytes;
    parts.push_back(text.substr(begin));
    text = strip(text.substr(0, begin), std::nullopt, false, true);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, int64_t most) {
  std::vector<std::string_view> parts;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> rsplit_at(std::string_view text, std::string_view separator, int64_t most) {
  std::vector<std::string_view> parts;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t at = text.rfind(separator);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

StatusOr<Value> split(const std::string& text, const Arguments& arguments, bool from_right) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"sep", "maxsplit"}));
  GQ_ASSIGN_OR_RETURN(const std::optional<std::string> separator, bound.optional_text(0));
  GQ_ASSIGN_OR_RETURN(const int64_t most, bound.whole(1, -1));
  if (!separator.has_value()) return list_of(from_right ? rsplit_at_spaces(text, most) : split_at_spaces(text, most));
  if (separator->empty()) return absl::InvalidArgumentError("the separator is empty");
  return list_of(from_right ? rsplit_at(text, *separator, most) : split_at(text, *separator, most));
}

StatusOr<Value> partition(const std::string& text, const Arguments& arguments, bool from_right) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"sep"}, 1));
  GQ_ASSIGN_OR_RETURN(const std::string separator, bound.text(0, ""));
  if (separator.empty()) return absl::InvalidArgumentError("the separator is empty");
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  std::vector<Value> parts;
  if (at == std::string::npos) {
    parts = {Value::of(from_right ? "" : text), Value::of(std::string()), Value::of(from_right ? text : "")};
  } else {
    parts = {Value::of(text.substr(0, at)), Value::of(separator), Value::of(text.substr(at + separator.size()))};
  }
  return make_sequence(Sequence::Flavor::kTuple, std::move(parts));
}

StatusOr<Value> stripped(const std::string& text, const Arguments& arguments, bool left, bool right) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"chars"}));
  GQ_ASSIGN_OR_RETURN(const std::optional<std::string> characters, bound.optional_text(0));
  const std::optional<std::string_view> view = characters;
  return Value::of(std::string(strip(text, view, left, right)));
}

// startswith and endswith, of one text or a tuple of them.
StatusOr<Value> touches(const std::string& text, const Arguments& arguments, bool at_start) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"prefix"}, 1));
  GQ_RETURN_IF_ERROR(defined(*bound[0]));
  const Sequence* tuple = bound[0]->sequence();
  const bool is_tuple = tuple != nullptr && tuple->flavor == Sequence::Flavor::kTuple;
  const std::vector<Value> wanted = is_tuple ? tuple->items : std::vector<Value>{*bound[0]};
  for (const Value& one : wanted) {
    if (!one.is_text()) return absl::InvalidArgumentError("must be given a str or a tuple, not a " + type_of(one));
    if (at_start ? text.starts_with(one.text()) : text.ends_with(one.text())) return Value::of(true);
  }
  return Value::of(false);
}

StatusOr<Value> found_at(const std::string& text, const std::string& name, const Arguments& arguments) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"sub"}, 1));
  GQ_ASSIGN_OR_RETURN(const std::string part, bound.text(0, ""));
  const size_t at = name[0] == 'r' ? text.rfind(part) : text.find(part);
  if (at != std::string::npos) return Value::of(code_points_in(std::string_view(text).substr(0, at)));
  if (name.ends_with("find")) return Value::of(int64_t{-1});
  return absl::InvalidArgumentError("the text is not found");
}

StatusOr<Value> joined(const std::string& separator, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"iterable"}, 1));
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(*bound[0]));
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_text()) return absl::InvalidArgumentError("item " + std::to_string(i) + " is no str");
    GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(out.size() + separator.size() + items[i].text().size())));
    if (i > 0) out += separator;
    out += items[i].text();
  }
  return Value::of(std::move(out));
}

StatusOr<Value> replace_method(const std::string& text, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"old", "new", "count"}, 2));
  GQ_ASSIGN_OR_RETURN(const std::string from, bound.text(0, ""));
  GQ_ASSIGN_OR_RETURN(const std::string to, bound.text(1, ""));
  GQ_ASSIGN_OR_RETURN(const int64_t count, bound.whole(2, -1));
  GQ_ASSIGN_OR_RETURN(std::string result, replaced(text, from, to, count, budget));
  return Value::of(std::move(result));
}

StatusOr<Value> count_method(const std::string& text, const Arguments& arguments) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"sub"}, 1));
  GQ_ASSIGN_OR_RETURN(const std::string part, bound.text(0, ""));
  if (part.empty()) return Value::of(code_points_in(text) + 1);
  return Value::of(static_cast<int64_t>(split_at(text, part, -1).size()) - 1);
}

StatusOr<Value> without_affix(const std::string& text, const Arguments& arguments, bool prefix) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"affix"}, 1));
  GQ_ASSIGN_OR_RETURN(const std::string affix, bound.text(0, ""));
  if (prefix && text.starts_with(affix)) return Value::of(text.substr(affix.size()));
  if (!prefix && text.ends_with(affix)) return Value::of(text.substr(0, text.size() - affix.size()));
  return Value::of(text);
}

// Questions about ASCII text; what other scripts have is not known here.
StatusOr<Value> all_ascii(const Value& self, const std::string& name, const Arguments& arguments) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  const std::string& text = self.text();
  const auto all = [&](auto&& holds) {
    return Value::of(!text.empty() && std::all_of(text.begin(), text.end(), holds));
  };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto letter = [](char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
  if (!std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    return absl::UnimplementedError("is only supported on ASCII text");
  }
  if (name == "isalpha") return all(letter);
  if (name == "isalnum") return all([&](char c) { return digit(c) || letter(c); });
  return all(digit);
}

StatusOr<Value> without_arguments(const std::string& text, const std::string& name, const Arguments& arguments) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  if (name == "upper") return Value::of(to_case(text, Case::kUpper));
  if (name == "lower") return Value::of(to_case(text, Case::kLower));
  if (name == "title") return Value::of(to_case(text, Case::kTitle));
  if (name == "capitalize") return Value::of(capitalized(text));
  if (name == "splitlines") return list_of(split_lines(text));
  return Value::of(!text.empty() && strip(text, std::nullopt, true, false).empty());  // isspace
}

}  // namespace

StatusOr<std::string> replaced(const std::string& text, const std::string& from, const std::string& to, int64_t count,
                               Budget& budget) {
  if (from.empty()) {  // before every character, and at the end
    const std::vector<std::string_view> characters = split_characters(text);
    int64_t left = count < 0 ? std::numeric_limits<int64_t>::max() : count;
    const int64_t times = std::min(left, static_cast<int64_t>(characters.size()) + 1);
    GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size()) + times * static_cast<int64_t>(to.size())));
    std::string out;
    for (const std::string_view character : characters) {
      if (left-- > 0) out += to;
      out += character;
    }
    if (left > 0) out += to;
    return out;
  }
  const std::vector<std::string_view> parts = split_at(text, from, count);
  const auto pieces = static_cast<int64_t>(parts.size());
  GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size()) + pieces * static_cast<int64_t>(to.size())));
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += to;
    out += parts[i];
  }
  return out;
}

bool is_text_method(std::string_view name) {
  return std::find(std::begin(kTextMethods), std::end(kTextMethods), name) != std::end(kTextMethods);
}

StatusOr<Value> call_text_method(const Value& self, const std::string& name, const Arguments& arguments,
                                 Budget& budget) {
  const std::string& text = self.text();
  GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size())));
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    return stripped(text, arguments, name != "rstrip", name != "lstrip");
  }
  if (name == "split" || name == "rsplit") return split(text, arguments, name == "rsplit");
  if (name == "partition" || name == "rpartition") return partition(text, arguments, name == "rpartition");
  if (name == "startswith" || name == "endswith") return touches(text, arguments, name == "startswith");
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex") return found_at(text, name, arguments);
  if (name == "join") return joined(text, arguments, budget);
  if (name == "replace") return replace_method(text, arguments, budget);
  if (name == "count") return count_method(text, arguments);
  if (name == "removeprefix" || name == "removesuffix") return without_affix(text, arguments, name == "removeprefix");
  if (name == "isdigit" || name == "isdecimal" || name == "isnumeric" || name == "isalpha" || name == "isalnum") {
    return all_ascii(self, name, arguments);
  }
  static constexpr std::string_view kPlain[] = {"upper", "lower", "title", "capitalize", "splitlines", "isspace"};
  if (std::find(std::begin(kPlain), std::end(kPlain), name) != std::end(kPlain)) {
    return without_arguments(text, name, arguments);
  }
  return absl::UnimplementedError("is not supported in templates");
}

}  // namespace gridquant::text::jinja
