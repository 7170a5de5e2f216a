// The two ways to merge beside the plainest one, on random merges and words.
#include "engine/text/bpe.h"

#include <random>

#include "gtest/gtest.h"

namespace gridquant::text {
namespace {

BpeModel::Options bytes_are_ids() {
  BpeModel::Options options;
  for (size_t i = 0; i < 256; ++i) options.byte_ids[i] = static_cast<int32_t>(i);
  return options;
}

std::vector<int32_t> encode(const BpeModel& model, std::string_view word) {
  BpeCall call;
  call.begin(word.size());
  model.encode(word, call);
  return call.ids;
}

// Merges the lowest-ranked pair, leftmost first, until there is none.
std::vector<int32_t> plain_merge(const std::vector<BpeModel::Pair>& merges, std::string_view word) {
  std::vector<int32_t> ids;
  for (const char c : word) ids.push_back(static_cast<uint8_t>(c));
  while (true) {
    size_t best_rank = merges.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].left == ids[i] && merges[rank].right == ids[i + 1]) {
          best_rank = rank;
          best = i;
        }
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best] = merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, ShortAndLongWordsMergeLikeThePlainLoop) {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    std::vector<BpeModel::Pair> merges;
    std::vector<int32_t> symbols = {'a', 'b', 'c'};
    for (int32_t i = 0; i < 40; ++i) {
      const int32_t left = symbols[random() % symbols.size()];
      const int32_t right = symbols[random() % symbols.size()];
      bool known = false;
      for (const auto& merge : merges) known = known || (merge.left == left && merge.right == right);
      if (known) continue;
      merges.push_back({left, right, 256 + i, static_cast<uint32_t>(merges.size())});
      symbols.push_back(256 + i);
    }
    const BpeModel model(bytes_are_ids(), merges, {});
    for (const size_t length : {1, 2, 3, 17, 63, 64, 65, 66, 127, 128, 129, 300}) {
      std::string word;
      for (size_t i = 0; i < length; ++i) word.push_back(static_cast<char>('a' + random() % 3));
      EXPECT_EQ(encode(model, word), plain_merge(merges, word)) << word;
    }
  }
}

TEST(Bpe, TheCacheGivesWhatMergingGives) {
  const std::vector<BpeModel::Pair> merges = {{'a', 'b', 256, 0}, {256, 'c', 257, 1}};
  const BpeModel model(bytes_are_ids(), merges, {});
  std::mt19937 random(11);
  std::vector<std::string> words;
  for (int i = 0; i < 500; ++i) {  // far more than the small cache of this call has places
    std::string word;
    for (size_t n = 1 + random() % 9; n > 0; --n) word.push_back(static_cast<char>('a' + random() % 3));
    words.push_back(word);
  }
  BpeCall call;
  call.begin(1);
  std::vector<int32_t> expected;
  for (int round = 0; round < 3; ++round) {
    for (const std::string& word : words) {
      model.encode(word, call);
      const std::vector<int32_t> ids = plain_merge(merges, word);
      expected.insert(expected.end(), ids.begin(), ids.end());
    }
  }
  EXPECT_EQ(call.ids, expected);
}

TEST(Bpe, AMegabyteWithoutASpaceIsMerged) {
  const BpeModel model(bytes_are_ids(), {{'a', 'a', 256, 0}, {256, 256, 257, 1}}, {});
  const std::vector<int32_t> ids = encode(model, std::string(1 << 20, 'a'));
  EXPECT_EQ(ids, std::vector<int32_t>((1 << 20) / 4, 257));
}

}  // namespace
}  // namespace gridquant::text
