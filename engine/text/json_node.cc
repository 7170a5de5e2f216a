#include "engine/text/json_node.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>

namespace gridquant::text {
namespace {

constexpr ptrdiff_t kMaxDepth = 64;  // parsers of nested parts call themselves

const nlohmann::json& null_value() {
  static const nlohmann::json value;
  return value;
}

}  // namespace

bool JsonNode::is_null() const {
  return value_->is_null();
}

StatusOr<JsonNode> JsonNode::child(const std::string& name) const {
  if (!value_->is_object()) return malformed("an object");
  if (std::count(at_.begin(), at_.end(), '/') > kMaxDepth) return invalid("nested too deeply");
  const auto found = value_->find(name);
  return JsonNode(*file_, found == value_->end() ? null_value() : *found, at_ + "/" + name);
}

StatusOr<std::vector<JsonNode>> JsonNode::array() const {
  if (!value_->is_array()) return malformed("an array");
  std::vector<JsonNode> nodes;
  nodes.reserve(value_->size());
  for (size_t i = 0; i < value_->size(); ++i) {
    nodes.emplace_back(*file_, (*value_)[i], at_ + "/" + std::to_string(i));
  }
  return nodes;
}

StatusOr<std::vector<JsonNode>> JsonNode::array_at(const std::string& name) const {
  GQ_ASSIGN_OR_RETURN(const JsonNode node, child(name));
  return node.array();
}

StatusOr<std::string> JsonNode::string_at(const std::string& name) const {
  GQ_ASSIGN_OR_RETURN(const JsonNode node, child(name));
  if (!node.value().is_string()) return node.malformed("a string");
  return node.value().get<std::string>();
}

StatusOr<bool> JsonNode::bool_at(const std::string& name, bool if_absent) const {
  GQ_ASSIGN_OR_RETURN(const JsonNode node, child(name));
  if (node.is_null()) return if_absent;
  if (!node.value().is_boolean()) return node.malformed("true or false");
  return node.value().get<bool>();
}

StatusOr<int32_t> JsonNode::token_id() const {
  if (!value_->is_number_unsigned()) return malformed("a token id");
  const uint64_t id = value_->get<uint64_t>();
  if (id > static_cast<uint64_t>(kMaxTokenId)) return invalid("token id " + std::to_string(id) + " is too large");
  return static_cast<int32_t>(id);
}

StatusOr<std::string> JsonNode::type() const {
  return string_at("type");
}

Status JsonNode::malformed(const std::string& expected) const {
  return invalid("expected " + expected + ", found " + std::string(value_->type_name()));
}

Status JsonNode::invalid(const std::string& why) const {
  return absl::InvalidArgumentError(*file_ + ": " + (at_.empty() ? "/" : at_) + ": " + why);
}

Status JsonNode::unimplemented(const std::string& what) const {
  return absl::UnimplementedError(*file_ + ": " + (at_.empty() ? "/" : at_) + ": " + what);
}

Status JsonNode::unsupported(const std::string& kind, const std::string& type) const {
  return absl::UnimplementedError(*file_ + ": " + kind + " \"" + type + "\" at " + at_ + " is not supported");
}

}  // namespace gridquant::text
