#include "engine/text/sentencepiece.h"

#include <cmath>

#include "engine/text/json_node.h"
#include "engine/text/protobuf.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

using Field = ProtobufReader::Field;
using Model = SentencePieceModel;

// Numbers of the fields that are read; what a message does not have stays at proto2's default.
enum ModelField : uint32_t { kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3 };
enum PieceField : uint32_t { kText = 1, kScore = 2, kType = 3 };
enum TrainerField : uint32_t { kModelType = 3, kWhitespaceAsSuffix = 24, kByteFallback = 35, kBosPiece = 46 };
enum NormalizerField : uint32_t { kName = 1, kCharacterMap = 2, kDummyPrefix = 3, kExtraWhitespaces = 4, kEscape = 5 };

// Hands every field of `message` to `take`, which returns a Status.
template <typename Take>
Status for_each_field(std::string_view message, size_t offset, Take take) {
  ProtobufReader reader(message, offset);
  while (!reader.at_end()) {
    GQ_ASSIGN_OR_RETURN(const Field field, reader.next());
    GQ_RETURN_IF_ERROR(take(field));
  }
  return absl::OkStatus();
}

// The value of a field that must be of this kind.
Status take_text(const Field& field, std::string& to) {
  if (!field.is_bytes) return absl::InvalidArgumentError("field " + std::to_string(field.number) + " is not a text");
  if (first_invalid_utf8(field.bytes) != kAllValid) {
    return absl::InvalidArgumentError("field " + std::to_string(field.number) + " is not UTF-8");
  }
  to = field.bytes;
  return absl::OkStatus();
}

Status take_number(const Field& field, uint64_t& to) {
  if (!field.is_number || field.is_fixed32) {
    return absl::InvalidArgumentError("field " + std::to_string(field.number) + " is not a number");
  }
  to = field.value;
  return absl::OkStatus();
}

Status take_switch(const Field& field, bool& to) {
  uint64_t value = 0;
  GQ_RETURN_IF_ERROR(take_number(field, value));
  to = value != 0;
  return absl::OkStatus();
}

Status read_piece(const Field& field, Model::Piece& piece) {
  uint64_t type = 0;
  switch (field.number) {
    case kText:
      return take_text(field, piece.text);
    case kScore:
      piece.score = field.as_float();
      if (field.is_fixed32 && !std::isnan(piece.score)) return absl::OkStatus();
      return absl::InvalidArgumentError("a score is not a number");
    case kType:
      GQ_RETURN_IF_ERROR(take_number(field, type));
      if (type < 1 || type > 6) return absl::InvalidArgumentError("a piece of unknown type " + std::to_string(type));
      piece.type = static_cast<Model::PieceType>(type);
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

Status read_trainer(const Field& field, Model& model) {
  uint64_t type = 0;
  switch (field.number) {
    case kModelType:
      GQ_RETURN_IF_ERROR(take_number(field, type));
      if (type < 1 || type > 4) return absl::InvalidArgumentError("unknown model type " + std::to_string(type));
      model.algorithm = static_cast<Model::Algorithm>(type);
      return absl::OkStatus();
    case kWhitespaceAsSuffix:
      return take_switch(field, model.whitespace_as_suffix);
    case kByteFallback:
      return take_switch(field, model.byte_fallback);
    case kBosPiece:
      return take_text(field, model.bos_piece);
    default:
      return absl::OkStatus();
  }
}

Status read_normalizer(const Field& field, Model& model) {
  switch (field.number) {
    case kName:
      return take_text(field, model.normalization);
    case kCharacterMap:
      model.has_character_map = !field.bytes.empty();
      return absl::OkStatus();
    case kDummyPrefix:
      return take_switch(field, model.add_dummy_prefix);
    case kExtraWhitespaces:
      return take_switch(field, model.remove_extra_whitespaces);
    case kEscape:
      return take_switch(field, model.escape_whitespaces);
    default:
      return absl::OkStatus();
  }
}

Status read_model(std::string_view bytes, Model& model) {
  return for_each_field(bytes, 0, [&](const Field& field) -> Status {
    if (field.number > kNormalizerSpec) return absl::OkStatus();
    if (!field.is_bytes) return absl::InvalidArgumentError("field " + std::to_string(field.number) + " is no message");
    const size_t offset = static_cast<size_t>(field.bytes.data() - bytes.data());
    if (field.number == kTrainerSpec) {
      return for_each_field(field.bytes, offset, [&](const Field& inner) { return read_trainer(inner, model); });
    }
    if (field.number == kNormalizerSpec) {
      return for_each_field(field.bytes, offset, [&](const Field& inner) { return read_normalizer(inner, model); });
    }
    if (model.pieces.size() > static_cast<size_t>(kMaxTokenId)) return absl::InvalidArgumentError("too many pieces");
    Model::Piece& piece = model.pieces.emplace_back();
    GQ_RETURN_IF_ERROR(
        for_each_field(field.bytes, offset, [&](const Field& inner) { return read_piece(inner, piece); }));
    if (!piece.text.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("piece " + std::to_string(model.pieces.size() - 1) + " has no text");
  });
}

}  // namespace

StatusOr<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes, const std::string& path) {
  SentencePieceModel model;
  const Status status = read_model(bytes, model);
  if (!status.ok()) {
    return absl::InvalidArgumentError(path + ": not a SentencePiece model: " + std::string(status.message()));
  }
  if (model.pieces.empty()) return absl::InvalidArgumentError(path + ": not a SentencePiece model: no pieces");
  return model;
}

}  // namespace gridquant::text
