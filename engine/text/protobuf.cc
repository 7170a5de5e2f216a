#include "engine/text/protobuf.h"

#include <bit>
#include <string>

namespace gridquant::text {
namespace {

constexpr uint64_t kVarint = 0;
constexpr uint64_t kFixed64 = 1;
constexpr uint64_t kBytes = 2;
constexpr uint64_t kFixed32 = 5;
constexpr uint64_t kMaxNumber = (1U << 29) - 1;

}  // namespace

float ProtobufReader::Field::as_float() const {
  return std::bit_cast<float>(static_cast<uint32_t>(value));
}

StatusOr<ProtobufReader::Field> ProtobufReader::next() {
  GQ_ASSIGN_OR_RETURN(const uint64_t tag, varint());
  const uint64_t number = tag >> 3;
  if (number == 0 || number > kMaxNumber) return malformed("field number " + std::to_string(number));
  Field field;
  field.number = static_cast<uint32_t>(number);
  field.is_number = true;
  switch (tag & 7) {
    case kVarint: {
      GQ_ASSIGN_OR_RETURN(field.value, varint());
      return field;
    }
    case kFixed64: {
      GQ_ASSIGN_OR_RETURN(field.value, fixed(8));
      return field;
    }
    case kFixed32: {
      field.is_fixed32 = true;
      GQ_ASSIGN_OR_RETURN(field.value, fixed(4));
      return field;
    }
    case kBytes: {
      field.is_number = false;
      field.is_bytes = true;
      GQ_ASSIGN_OR_RETURN(const uint64_t size, varint());
      if (size > message_.size() - at_) {
        return malformed("field " + std::to_string(number) + " has " + std::to_string(size) + " bytes, but only " +
                         std::to_string(message_.size() - at_) + " are left");
      }
      field.bytes = message_.substr(at_, static_cast<size_t>(size));
      at_ += static_cast<size_t>(size);
      return field;
    }
    default:
      return malformed("wire type " + std::to_string(tag & 7));
  }
}

StatusOr<uint64_t> ProtobufReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (at_ == message_.size()) return malformed("the end, within a number");
    const uint64_t byte = static_cast<uint8_t>(message_[at_++]);
    if (shift == 63 && byte > 1) break;
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return malformed("a number of more than 64 bits");
}

StatusOr<uint64_t> ProtobufReader::fixed(size_t bytes) {
  if (bytes > message_.size() - at_) return malformed("the end, within a number");
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(message_[at_ + i])) << (8 * i);
  }
  at_ += bytes;
  return value;
}

Status ProtobufReader::malformed(std::string_view why) const {
  return absl::InvalidArgumentError("at byte " + std::to_string(offset()) + ": " + std::string(why));
}

}  // namespace gridquant::text
