// The "decoder" of tokenizer.json: tokens -> text. ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace and a
// Sequence of them; none: the tokens with a space between. Immutable and thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/json_node.h"
#include "engine/text/pattern.h"

namespace gridquant::text {

class Decoder {
 public:
  static StatusOr<Decoder> parse(const JsonNode& node);  // null: none
  // What SentencePiece does: U+2581 is a space, bytes are put together, and the space in front, which the encoder put
  // there if `strips_first_space`, is taken away.
  static Decoder sentencepiece(bool strips_first_space);

  // Only ByteLevel: each token may be kept as the bytes that it stands for, and joining them is all there is to do.
  bool is_byte_level() const { return byte_level_only_; }

  std::string decode(std::vector<std::string> tokens) const;

 private:
  enum class Kind { kByteLevel, kByteFallback, kFuse, kReplace, kReplacePattern, kStrip, kMetaspace };
  struct Step {
    Kind kind = Kind::kFuse;
    std::string from;  // kReplace, kStrip and kMetaspace (one character)
    std::string to;
    std::shared_ptr<const Pattern> pattern;
    size_t start = 0;
    size_t stop = 0;
    bool drops_first = false;  // kMetaspace: a space in the first token is none
  };
  Status add(const JsonNode& node);
  static StatusOr<Step> parse_step(const JsonNode& node, const std::string& type);
  static Status parse_replace(const JsonNode& node, Step& step);
  static Status parse_strip(const JsonNode& node, Step& step);
  static Status parse_metaspace(const JsonNode& node, Step& step);
  static void run(const Step& step, std::vector<std::string>& tokens);

  std::vector<Step> steps_;
  bool byte_level_only_ = false;
};

}  // namespace gridquant::text
