// The GGUF container (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3, little-endian:
// magic, version, counts, key-value pairs, tensor infos, padding, tensor data. Nothing in it is believed before it was
// checked against the file's size. Not here: what keys and names mean (config, names, tokenizer), values of blocks.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/status.h"
#include "engine/formats/gguf/blocks.h"
#include "engine/tensor/tensor.h"

namespace gridquant::formats {

// Integers of every width become int64_t (uint64_t where they do not fit), floats double; arrays hold one type.
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>>;

struct GgufTensor {
  BlockType type = BlockType::kF32;
  tensor::Shape shape;  // outermost dimension first, as safetensors has it (the file lists them in reverse)
  uint64_t begin = 0;   // byte offset in the file
  uint64_t bytes = 0;
};

struct GgufHeader {
  std::map<std::string, GgufValue> values;
  std::map<std::string, GgufTensor> tensors;
};

// `head` holds the file's first bytes. Nothing if they end before the header does and the file goes on: call again with
// more. Checks magic and version, every count and length against the bytes that are left, no key or tensor twice, known
// types, whole rows of blocks, products without overflow, alignment, data inside the file, no overlap.
// Errors: FailedPrecondition, or OutOfRange where the file was cut short, or Unimplemented for a tensor type that
// gridquant does not read; `path` and the key or tensor in the message.
StatusOr<std::optional<GgufHeader>> parse_gguf_header(std::string_view head, uint64_t file_size,
                                                      const std::string& path);

}  // namespace gridquant::formats
