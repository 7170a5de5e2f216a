// Hugging Face tokenizer.json, BPE over bytes or characters: the same ids as the `tokenizers` library. Immutable and
// thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::text {

// What encoding remembers from text to text: words and their ids, bounded, and buffers. One thread at a time, and one
// Tokenizer, which must outlive it; ids do not depend on it.
class EncodeScratch {
 public:
  EncodeScratch();
  ~EncodeScratch();
  EncodeScratch(EncodeScratch&&) noexcept;
  EncodeScratch& operator=(EncodeScratch&&) noexcept;

 private:
  friend class Tokenizer;
  struct State;
  std::unique_ptr<State> state_;
};

class Tokenizer {
 public:
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // `json_text` is the content of tokenizer.json. Unimplemented names the component that is not supported.
  static StatusOr<Tokenizer> parse(std::string_view json_text, const std::string& path);
  // `bytes` is the content of SentencePiece's tokenizer.model; the same ids as the `sentencepiece` library, with <s> as
  // the special token in front if `with_bos`. Only BPE models that do not normalize; Unimplemented names what is not
  // supported.
  static StatusOr<Tokenizer> parse_sentencepiece(std::string_view bytes, const std::string& path,
                                                 bool with_bos = true);

  // `text` must be UTF-8 (InvalidArgument with the byte offset otherwise). Special tokens written in the text are
  // recognised; with add_special the post-processor's template (BOS ...) is applied.
  StatusOr<std::vector<int32_t>> encode(std::string_view text, bool add_special) const;
  // The same, faster for many small texts.
  StatusOr<std::vector<int32_t>> encode(std::string_view text, bool add_special, EncodeScratch& scratch) const;
  std::string decode(const std::vector<int32_t>& ids, bool skip_special) const;
  std::optional<int32_t> special_token(std::string_view token) const;  // its id; nothing if it is none
  int64_t vocab_size() const;                                          // largest id + 1

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gridquant::text
