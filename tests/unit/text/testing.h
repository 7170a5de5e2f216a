// A small byte-level tokenizer.json for the tests of this folder, and where the shared test data is.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/base/env.h"
#include "engine/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gridquant::text {

// tests/unit/text/vectors.jsonl starts with it: all 256 bytes, some merges, <s> (in the vocabulary), </s>, <mask>.
inline nlohmann::json small_tokenizer() {
  const std::string path = std::string(GRIDQUANT_SOURCE_DIR) + "/tests/unit/text/vectors.jsonl";
  const StatusOr<std::string> lines = base::read_file(base::posix_env(), path);
  EXPECT_TRUE(lines.ok()) << lines.status();
  return lines.ok() ? nlohmann::json::parse(lines->substr(0, lines->find('\n'))) : nlohmann::json();
}

inline StatusOr<Tokenizer> parse(const nlohmann::json& document) {
  return Tokenizer::parse(document.dump(), "models/tokenizer.json");
}

inline Tokenizer parse_or_die(const nlohmann::json& document) {
  StatusOr<Tokenizer> tokenizer = parse(document);
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.status();
    std::abort();
  }
  return std::move(tokenizer).value();
}

// "" where the shared data is absent.
inline std::string shared_data(const std::string& name) {
  const char* folder = std::getenv("GRIDQUANT_TEST_DATA");
  const std::filesystem::path root = folder != nullptr ? std::filesystem::path(folder)
                                                       : std::filesystem::path(GRIDQUANT_SOURCE_DIR) / "../shared/data";
  const std::filesystem::path path = root / name;
  return std::filesystem::exists(path) ? path.string() : "";
}

}  // namespace gridquant::text
