#include "engine/text/post_processor.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace gridquant::text {

StatusOr<PostProcessor> PostProcessor::parse(const JsonNode& node) {
  PostProcessor post_processor;
  if (!node.is_null()) GQ_RETURN_IF_ERROR(post_processor.add(node));
  return post_processor;
}

Status PostProcessor::add(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (type == "ByteLevel") return absl::OkStatus();
  if (type == "Sequence") {
    GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array_at("processors"));
    for (const JsonNode& part : parts) GQ_RETURN_IF_ERROR(add(part));
    return absl::OkStatus();
  }
  const bool is_pair = type == "BertProcessing" || type == "RobertaProcessing";
  if (type != "TemplateProcessing" && !is_pair) return node.unsupported("post_processor", type);
  // The library would take what the first one made for a pair of texts.
  if (!template_.empty()) return node.unimplemented("a second template is not supported");
  GQ_ASSIGN_OR_RETURN(template_, is_pair ? parse_bert(node) : parse_template(node));
  return absl::OkStatus();
}

PostProcessor PostProcessor::with_bos(int32_t bos) {
  PostProcessor post_processor;
  post_processor.template_ = {Piece{false, {bos}}, Piece{true, {}}};
  return post_processor;
}

// "cls" in front and "sep" behind, each written as ["<s>", 0].
StatusOr<std::vector<PostProcessor::Piece>> PostProcessor::parse_bert(const JsonNode& node) {
  std::vector<Piece> made;
  for (const char* name : {"cls", "sep"}) {
    GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> entry, node.array_at(name));
    if (entry.size() != 2) return node.invalid(std::string(name) + " is not a token and its id");
    GQ_ASSIGN_OR_RETURN(const int32_t id, entry[1].token_id());
    made.push_back(Piece{false, {id}});
  }
  made.insert(made.begin() + 1, Piece{true, {}});
  return made;
}

StatusOr<std::vector<PostProcessor::Piece>> PostProcessor::parse_template(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> pieces, node.array_at("single"));
  if (pieces.empty()) return node.invalid("an empty template");
  GQ_ASSIGN_OR_RETURN(const JsonNode specials, node.child("special_tokens"));
  std::vector<Piece> made;
  bool has_text = false;
  for (const JsonNode& piece : pieces) {
    GQ_ASSIGN_OR_RETURN(const JsonNode special, piece.child("SpecialToken"));
    GQ_ASSIGN_OR_RETURN(const JsonNode sequence, piece.child("Sequence"));
    if (special.is_null() == sequence.is_null()) return piece.malformed("a SpecialToken or a Sequence");
    if (special.is_null()) {
      GQ_ASSIGN_OR_RETURN(const std::string id, sequence.string_at("id"));
      if (id != "A") return sequence.invalid("a template for one text cannot hold sequence \"" + id + "\"");
      if (has_text) return piece.unimplemented("a template that repeats the text is not supported");
      has_text = true;
      made.push_back(Piece{true, {}});
      continue;
    }
    GQ_ASSIGN_OR_RETURN(const std::string name, special.string_at("id"));
    GQ_ASSIGN_OR_RETURN(std::vector<int32_t> ids, ids_of_special(specials, name));
    made.push_back(Piece{false, std::move(ids)});
  }
  return made;
}

StatusOr<std::vector<int32_t>> PostProcessor::ids_of_special(const JsonNode& specials, const std::string& name) {
  GQ_ASSIGN_OR_RETURN(const JsonNode special, specials.child(name));
  if (special.is_null()) return specials.invalid("the template names \"" + name + "\", which is not listed here");
  GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> listed, special.array_at("ids"));
  std::vector<int32_t> ids;
  for (const JsonNode& id : listed) {
    GQ_ASSIGN_OR_RETURN(const int32_t value, id.token_id());
    ids.push_back(value);
  }
  return ids;
}

std::vector<int32_t> PostProcessor::apply(const std::vector<int32_t>& ids, bool add_special) const {
  if (template_.empty()) return ids;
  std::vector<int32_t> out;
  out.reserve(ids.size() + template_.size());
  for (const Piece& piece : template_) {
    if (piece.is_text) {
      out.insert(out.end(), ids.begin(), ids.end());
    } else if (add_special) {
      out.insert(out.end(), piece.special.begin(), piece.special.end());
    }
  }
  return out;
}

}  // namespace gridquant::text
