// A value inside a parsed tokenizer.json that knows its path, so that every complaint says where. Borrows the document.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::text {

class JsonNode {
 public:
  JsonNode(const std::string& file, const nlohmann::json& value, std::string at)
      : file_(&file), value_(&value), at_(std::move(at)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& at() const { return at_; }  // "/model/merges/3"
  bool is_null() const;

  // The member, a JSON null when it is absent; InvalidArgument if this is not an object.
  StatusOr<JsonNode> child(const std::string& name) const;
  StatusOr<std::vector<JsonNode>> array() const;
  StatusOr<std::vector<JsonNode>> array_at(const std::string& name) const;
  StatusOr<std::string> string_at(const std::string& name) const;
  StatusOr<bool> bool_at(const std::string& name, bool if_absent) const;
  StatusOr<int32_t> token_id() const;  // this, a number that can be a token's id
  StatusOr<std::string> type() const;  // string_at("type")

  Status malformed(const std::string& expected) const;  // "FILE: AT: expected ..., found ..."
  Status invalid(const std::string& why) const;         // InvalidArgument, "FILE: AT: why"
  Status unimplemented(const std::string& what) const;  // Unimplemented, "FILE: AT: what"
  // FILE: KIND "TYPE" at AT is not supported
  Status unsupported(const std::string& kind, const std::string& type) const;

 private:
  const std::string* file_;
  const nlohmann::json* value_;
  std::string at_;
};

// Ids above this are refused: tables are indexed by id, and no vocabulary is near.
inline constexpr int32_t kMaxTokenId = (1 << 24) - 1;

}  // namespace gridquant::text
