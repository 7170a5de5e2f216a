// JSON values as YAML for people: block style, keys in their order, long texts as literal blocks. Only writes; what it
// writes means the same to every YAML 1.1 and 1.2 reader.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace gridquant::cli {

// Ends with a newline. Texts must be UTF-8.
std::string to_yaml(const nlohmann::ordered_json& value);

}  // namespace gridquant::cli
