// The only file that knows yaml-cpp. It takes yaml-cpp's event stream rather than its nodes: half the time, and
// positions, quotes, duplicate keys and aliases are all visible there.
//
// What yaml-cpp 0.7.0 does not do and this file therefore does: refuse duplicate keys, unterminated quotes (it ends
// them at the end of the file), the byte 0x04 (it takes it for the end of the file), nodes multiplied by aliases.
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "coordinator/spec/ynode.h"

namespace gridquant::spec {
namespace {

constexpr char kStringTag[] = "tag:yaml.org,2002:str";

// Thrown through yaml-cpp, caught in read_events: stops the parse after a diagnostic of ours.
struct Stop {};

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const SourceText& source, Sink& sink, YDocument& document)
      : source_(source), sink_(sink), document_(document) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ == 1) return;
    sink_.add(Code::kSeveralDocuments, position(mark, 3), "the file holds more than one YAML document",
              "put one pipeline into each file");
    throw Stop{};
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YNode& node = add(YNode::Kind::kNull, mark, anchor, "");
    // An empty value has no place of its own: yaml-cpp names the next token. Show the key instead.
    const std::string_view rest = source_.text().substr(offset(mark));
    const bool written =
        rest.starts_with('~') || rest.starts_with("null") || rest.starts_with("Null") || rest.starts_with("NULL");
    if (written) {
      node.at = position(mark, rest.starts_with('~') ? 1 : 4);
    } else if (!open_.empty()) {
      node.at = open_.back().key != nullptr ? open_.back().key->at : open_.back().node->at;
    }
    place(&node);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end() || is_open(found->second)) {
      fail(Code::kUnsupportedYaml, position(mark, 1), "an alias refers to the value that contains it");
    }
    place(found->second);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YNode& node = add(YNode::Kind::kScalar, mark, anchor, tag);
    node.text = value;
    node.quoted = tag == "!" || tag == kStringTag;
    locate(node, offset(mark));
    // Escapes such as "\0" are legal YAML and poison for paths and JSON.
    if (!node.verbatim && (first_control_character(value) || first_invalid_utf8(value))) {
      fail(Code::kControlCharacter, node.at, "the quoted text contains an escaped control character");
    }
    place(&node);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(add(YNode::Kind::kList, mark, anchor, tag));
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(add(YNode::Kind::kMap, mark, anchor, tag));
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YNode* node;
    const YNode* key = nullptr;  // of a map, between key and value
    bool skip_value = false;     // its key was a duplicate or no scalar
    std::unordered_map<std::string, const YNode*> keys;
  };

  size_t offset(const YAML::Mark& mark) const { return source_.offset_of(mark.line + 1, mark.column); }
  Position position(const YAML::Mark& mark, size_t length) const { return source_.position_of(offset(mark), length); }

  [[noreturn]] void fail(Code code, const Position& at, std::string message) {
    sink_.add(code, at, std::move(message));
    throw Stop{};
  }

  YNode& add(YNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag) {
    YNode& node = document_.nodes.emplace_back();
    node.kind = kind;
    node.at = position(mark, 1);
    if (anchor != 0) anchors_[anchor] = &node;
    if (!tag.empty() && tag != "?" && tag != "!" && tag != kStringTag) {
      sink_.add(Code::kUnsupportedYaml, node.at, "YAML tags are not used in pipeline files",
                "remove '" + shorten(tag, 30) + "'");
    }
    return node;
  }

  bool is_open(const YNode* node) const {
    return std::any_of(open_.begin(), open_.end(), [&](const Open& open) { return open.node == node; });
  }

  void open(YNode& node) {
    if (open_.size() >= static_cast<size_t>(kMaxDepth)) {
      fail(Code::kTooLarge, node.at, "lists and maps are nested more than " + std::to_string(kMaxDepth) + " deep");
    }
    open_.push_back({.node = &node, .key = nullptr, .skip_value = false, .keys = {}});
  }

  void close() {
    YNode* node = open_.back().node;
    open_.pop_back();
    place(node);
  }

  // Puts a complete node where it belongs: document, list element, key or value of a map.
  void place(const YNode* node) {
    if (open_.empty()) {
      if (document_.root == nullptr) document_.root = node;
      return;
    }
    Open& parent = open_.back();
    if (parent.node->kind == YNode::Kind::kList) {
      parent.node->items.push_back(node);
    } else if (parent.key == nullptr) {
      place_key(parent, node);
      return;
    } else {
      if (!parent.skip_value) parent.node->entries.push_back({parent.key, node});
      parent.key = nullptr;
      parent.skip_value = false;
    }
    parent.node->weight = std::min(kMaxWeight + 1, parent.node->weight + node->weight);
    if (parent.node->weight > kMaxWeight) {
      fail(Code::kTooLarge, node->at, "aliases multiply the file beyond " + std::to_string(kMaxWeight) + " values");
    }
  }

  void place_key(Open& parent, const YNode* key) {
    parent.key = key;
    if (key->kind != YNode::Kind::kScalar) {
      sink_.add(Code::kUnsupportedYaml, key->at, "a key must be text, not " + describe(*key));
      parent.skip_value = true;
      parent.node->incomplete = true;
      return;
    }
    const auto [first, fresh] = parent.keys.try_emplace(key->text, key);
    if (fresh) return;
    const Position& at = first->second->at;
    sink_.add(Code::kDuplicateKey, key->at,
              "duplicate key '" + shorten(key->text) + "', first at " + std::to_string(at.line) + ":" +
                  std::to_string(at.column),
              "keep one of the two");
    parent.skip_value = true;
  }

  // Length of the scalar in the source, and whether its text stands there unchanged.
  void locate(YNode& node, size_t begin) {
    const std::string_view text = source_.text();
    const char first = begin < text.size() ? text[begin] : '\0';
    if (node.quoted && (first == '"' || first == '\'')) {
      const size_t end = end_of_quotes(begin, first);
      if (end == std::string_view::npos) {
        fail(Code::kSyntax, source_.position_of(begin, 1), "quoted text is never closed");
      }
      node.at = source_.position_of(begin, end + 1 - begin);
      node.text_offset = begin + 1;
      node.verbatim = text.substr(begin + 1, end - begin - 1) == node.text;
      return;
    }
    node.verbatim = !node.text.empty() && text.substr(begin).starts_with(node.text);
    node.text_offset = begin;
    node.at = source_.position_of(begin, node.verbatim ? node.text.size() : 1);
  }

  size_t end_of_quotes(size_t begin, char quote) const {
    const std::string_view text = source_.text();
    for (size_t i = begin + 1; i < text.size(); ++i) {
      if (quote == '"' && text[i] == '\\') {
        ++i;
      } else if (text[i] == quote) {
        if (quote == '"' || i + 1 >= text.size() || text[i + 1] != '\'') return i;
        ++i;
      }
    }
    return std::string_view::npos;
  }

  const SourceText& source_;
  Sink& sink_;
  YDocument& document_;
  std::vector<Open> open_;
  std::unordered_map<YAML::anchor_t, const YNode*> anchors_;
  int documents_ = 0;
};

// yaml-cpp's terse texts, said for people. Returns the message and a hint.
std::pair<std::string, std::string> explain_syntax(const std::string& text) {
  if (text == YAML::ErrorMsg::MAP_VALUE) {
    return {"a ':' where no value can begin",
            "check the indentation of this line and the line above; quote text "
            "that holds ': '"};
  }
  if (text == YAML::ErrorMsg::END_OF_MAP) return {"this map ends unexpectedly", "check the indentation"};
  if (text == YAML::ErrorMsg::END_OF_SEQ) return {"this list ends unexpectedly", "check the indentation"};
  if (text == YAML::ErrorMsg::END_OF_MAP_FLOW)
    return {"a '{' is never closed", "add '}'; quote \"${...}\" inside braces"};
  if (text == YAML::ErrorMsg::END_OF_SEQ_FLOW) {
    return {"a '[' is never closed", "add ']'; quote \"${...}\" inside brackets"};
  }
  if (text == YAML::ErrorMsg::FLOW_END) return {"a closing bracket that nothing opened", ""};
  if (text == YAML::ErrorMsg::BLOCK_ENTRY) return {"a '-' where no list element can begin", "check the indentation"};
  if (text == YAML::ErrorMsg::MAP_KEY) return {"a key where none can begin", "check the indentation"};
  if (text == YAML::ErrorMsg::UNKNOWN_ANCHOR) return {"an alias to an anchor that the file does not have", ""};
  if (text == YAML::ErrorMsg::UNKNOWN_TOKEN) {
    return {"a character that cannot begin a value", "quote text that begins with @, `, % or &"};
  }
  if (text.empty() || text == "bad file") return {"the text is not YAML", ""};
  return {text, ""};
}

bool indented_with_tab(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t");
  return first != std::string_view::npos && line.substr(0, first).find('\t') != std::string_view::npos;
}

void report_syntax(const YAML::Exception& error, const SourceText& source, Sink& sink) {
  const int line = std::max(error.mark.line, 0) + 1;
  if (indented_with_tab(source.line(line))) {
    const size_t column = source.line(line).find('\t');
    sink.add(Code::kTab, source.position_of(source.offset_of(line, column), 1), "a tab is used as indentation",
             "indent with spaces");
    return;
  }
  auto [message, hint] = explain_syntax(error.msg);
  const size_t column = static_cast<size_t>(std::max(error.mark.column, 0));
  sink.add(Code::kSyntax, source.position_of(source.offset_of(line, column), 1), std::move(message), std::move(hint));
}

bool read_events(const SourceText& source, Sink& sink, YDocument& document) {
  TreeBuilder builder(source, sink, document);
  try {
    std::istringstream stream{std::string(source.text())};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    return true;
  } catch (const Stop&) {
    return false;
  } catch (const YAML::DeepRecursion& error) {
    sink.add(Code::kTooLarge, source.position_of(source.offset_of(error.mark.line + 1, error.mark.column), 1),
             "lists and maps are nested too deep");
  } catch (const YAML::Exception& error) {
    report_syntax(error, source, sink);
  } catch (const std::exception& error) {
    sink.add(Code::kSyntax, {}, std::string("the text is not YAML: ") + error.what());
  }
  return false;
}

// What must hold before yaml-cpp may see the text.
bool check_bytes(const SourceText& source, Sink& sink) {
  const std::string_view text = source.text();
  if (text.size() > kMaxFileBytes) {
    sink.add(
        Code::kTooLarge, {},
        "the file has " + std::to_string(text.size()) + " bytes; a pipeline may have " + std::to_string(kMaxFileBytes));
    return false;
  }
  if (const auto at = first_invalid_utf8(text)) {
    sink.add(Code::kNotUtf8, source.position_of(*at, 1), "the file is not UTF-8 text from here on", "save it as UTF-8");
    return false;
  }
  if (const auto at = first_control_character(text)) {
    sink.add(Code::kControlCharacter, source.position_of(*at, 1), "the text contains a control character",
             "remove it; a NUL often means a damaged file");
    return false;
  }
  return true;
}

}  // namespace

YDocument read_yaml(const SourceText& source, Sink& sink) {
  YDocument document;
  if (!check_bytes(source, sink)) return document;
  if (!read_events(source, sink, document)) {
    document.root = nullptr;
    return document;
  }
  if (document.root == nullptr || document.root->kind == YNode::Kind::kNull) {
    sink.add(Code::kEmptyFile, {}, "the file holds no pipeline", "a pipeline starts with 'apiVersion: gridquant/v1'");
    document.root = nullptr;
  }
  return document;
}

}  // namespace gridquant::spec
