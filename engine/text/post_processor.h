// The "post_processor" of tokenizer.json: puts special tokens around the ids of one text. Supported:
// one of TemplateProcessing, BertProcessing and RobertaProcessing; ByteLevel (moves offsets only, nothing to do here);
// a Sequence. Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/json_node.h"

namespace gridquant::text {

class PostProcessor {
 public:
  static StatusOr<PostProcessor> parse(const JsonNode& node);
  static PostProcessor with_bos(int32_t bos);  // one token in front
  std::vector<int32_t> apply(const std::vector<int32_t>& ids, bool add_special) const;

 private:
  struct Piece {
    bool is_text = false;          // the text's ids stand here,
    std::vector<int32_t> special;  // otherwise these
  };
  Status add(const JsonNode& node);
  static StatusOr<std::vector<Piece>> parse_bert(const JsonNode& node);
  static StatusOr<std::vector<Piece>> parse_template(const JsonNode& node);
  static StatusOr<std::vector<int32_t>> ids_of_special(const JsonNode& specials, const std::string& name);

  std::vector<Piece> template_;  // empty: nothing is put around the text
};

}  // namespace gridquant::text
