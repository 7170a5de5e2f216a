// GGUF files made byte by byte, so that a test can lie about anything.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/formats/testing.h"

namespace gridquant::formats {

inline std::string le(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

inline std::string gguf_string(const std::string& text) {
  return le(text.size(), 8) + text;
}

// Keys with their values, as bytes.
inline std::string key_u32(const std::string& key, uint32_t value) {
  return gguf_string(key) + le(4, 4) + le(value, 4);
}
inline std::string key_f32(const std::string& key, float value) {
  return gguf_string(key) + le(6, 4) + le(std::bit_cast<uint32_t>(value), 4);
}
inline std::string key_text(const std::string& key, const std::string& value) {
  return gguf_string(key) + le(8, 4) + gguf_string(value);
}

struct GgufInfo {
  std::string name;
  std::vector<uint64_t> dims;  // fastest first
  uint32_t type = 0;           // ggml's number
  uint64_t offset = 0;
};

struct GgufParts {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> keys;
  std::vector<GgufInfo> infos;
  std::string data;
  // What the counts say, if not the truth.
  std::optional<uint64_t> tensor_count, key_count;
};

// The bytes before the data, unpadded.
inline std::string gguf_head(const GgufParts& parts) {
  std::string bytes = parts.magic + le(parts.version, 4);
  bytes += le(parts.tensor_count.value_or(parts.infos.size()), 8);
  bytes += le(parts.key_count.value_or(parts.keys.size()), 8);
  for (const std::string& key : parts.keys) bytes += key;
  for (const GgufInfo& info : parts.infos) {
    bytes += gguf_string(info.name) + le(info.dims.size(), 4);
    for (const uint64_t dim : info.dims) bytes += le(dim, 8);
    bytes += le(info.type, 4) + le(info.offset, 8);
  }
  return bytes;
}

inline std::string gguf_bytes(const GgufParts& parts, size_t alignment = 32) {
  std::string bytes = gguf_head(parts);
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  return bytes + parts.data;
}

}  // namespace gridquant::formats
