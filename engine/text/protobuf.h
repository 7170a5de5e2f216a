// Reading protobuf's wire format, field by field: enough for one message of someone else's file without generated code
// and its library (https://protobuf.dev/programming-guides/encoding/). Nothing is believed before it was compared with
// the bytes that are there. Borrows the bytes.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/status.h"

namespace gridquant::text {

class ProtobufReader {
 public:
  struct Field {
    uint32_t number = 0;
    bool is_number = false;  // a varint or a fixed number, in `value`
    bool is_fixed32 = false;
    bool is_bytes = false;  // in `bytes`: a string, bytes or a message
    uint64_t value = 0;
    std::string_view bytes;

    float as_float() const;  // of a fixed32
  };

  // `offset` is where `message` starts in the file, for messages about it.
  explicit ProtobufReader(std::string_view message, size_t offset = 0) : message_(message), offset_(offset) {}

  bool at_end() const { return at_ == message_.size(); }
  size_t offset() const { return offset_ + at_; }
  // InvalidArgument "at byte N: ..." for what is not protobuf. Groups, which nothing has used for long, are refused.
  StatusOr<Field> next();

 private:
  StatusOr<uint64_t> varint();
  StatusOr<uint64_t> fixed(size_t bytes);
  Status malformed(std::string_view why) const;

  std::string_view message_;
  size_t offset_ = 0;
  size_t at_ = 0;
};

}  // namespace gridquant::text
