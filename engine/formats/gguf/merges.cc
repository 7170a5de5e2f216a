// Merges that a vocabulary with scores implies.
#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "engine/formats/gguf/tokenizer.h"

namespace gridquant::formats {
namespace {

struct Merge {
  std::string_view left, right;
  double rank = 0;
  size_t left_length = 0, right_length = 0;  // characters
};

bool begins_character(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> gguf_merges(const std::vector<std::string>& tokens,
                                                             const std::vector<double>& rank_of) {
  // A token longer than this is no result of merging words (runs of spaces are shorter); it would cost its square.
  constexpr size_t kLongest = 256;
  std::unordered_map<std::string_view, int64_t> ids;
  for (size_t i = 0; i < tokens.size(); ++i) ids[tokens[i]] = static_cast<int64_t>(i);
  std::vector<Merge> merges;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view whole = tokens[i];
    if (whole.size() > kLongest) continue;
    const size_t characters = static_cast<size_t>(std::count_if(whole.begin(), whole.end(), begins_character));
    size_t before = 0;
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      before += begins_character(whole[cut - 1]) ? 1 : 0;
      if (!begins_character(whole[cut])) continue;
      const auto left = ids.find(whole.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(whole.substr(cut));
      if (right == ids.end()) continue;
      merges.push_back({left->first, right->first, rank_of[i], before, characters - before});
    }
  }
  // By rank; of equal ranks the longer left part, then the longer right part.
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    if (a.rank != b.rank) return a.rank < b.rank;
    if (a.left_length != b.left_length) return a.left_length > b.left_length;
    return a.right_length > b.right_length;
  });
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(merges.size());
  for (const Merge& merge : merges) pairs.emplace_back(merge.left, merge.right);
  return pairs;
}

}  // namespace gridquant::formats
