// Lowest rank first, leftmost first among equals. Short words (nearly all) are merged by scanning an array, long ones
// with a heap so that a megabyte without a space stays O(n log n).
#include "engine/text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <utility>

namespace gridquant::text {
namespace {

constexpr size_t kShortWord = 64;  // symbols; above, the heap is faster
constexpr size_t kMinCachedWords = 16;
constexpr size_t kMaxCachedWords = 16384;  // 2 MiB of entries
constexpr uint32_t kNoNeighbour = UINT32_MAX;

uint64_t load64(const char* from) {
  uint64_t value = 0;
  std::memcpy(&value, from, sizeof value);
  return value;
}

uint64_t load32(const char* from) {
  uint32_t value = 0;
  std::memcpy(&value, from, sizeof value);
  return value;
}

uint64_t mix(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t hash_of(std::string_view word) {
  constexpr uint64_t kA = 0x9E3779B97F4A7C15ULL;
  constexpr uint64_t kB = 0xD6E8FEB86659FD93ULL;
  const char* data = word.data();
  const size_t n = word.size();
  if (n < 4) {
    const auto byte = [&](size_t i) { return static_cast<uint64_t>(static_cast<uint8_t>(data[i])); };
    return mix((byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16) ^ kA, kB ^ n);
  }
  if (n < 8) return mix((load32(data) | load32(data + n - 4) << 32) ^ kA, kB ^ n);
  uint64_t hash = kB ^ n;
  for (size_t i = 0; i + 8 < n; i += 8) hash = mix(load64(data + i) ^ kA, hash);
  return mix(load64(data + n - 8) ^ kA, hash);
}

}  // namespace

MergeTable::MergeTable(size_t count) {
  const size_t slots = std::bit_ceil(std::max<size_t>(count * 2, 16));
  shift_ = 64 - std::countr_zero(slots);
  slots_.resize(slots);
}

size_t MergeTable::slot_of(uint64_t key) const {
  size_t i = (key * 0x9E3779B97F4A7C15ULL) >> shift_;
  while (slots_[i].key != key && slots_[i].key != UINT64_MAX) i = (i + 1) & (slots_.size() - 1);
  return i;
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  slots_[slot_of(key)] = Slot{key, merge};
}

MergeTable::Merge MergeTable::find(int32_t left, int32_t right) const {
  const uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  return slots_[slot_of(key)].merge;
}

void BpeCall::begin(size_t text_bytes) {
  ids.clear();
  ids.reserve(text_bytes / 3 + 8);
  bytes_seen_ += text_bytes;
  const size_t wanted = std::bit_ceil(std::clamp(bytes_seen_ / 8, kMinCachedWords, kMaxCachedWords));
  if (wanted > words_.size()) words_.assign(wanted, Word{});  // doubles every time, so forgetting costs little
}

void BpeCall::forget() {
  words_.clear();
  bytes_seen_ = 0;
}

BpeModel::BpeModel(const Options& options, const std::vector<Pair>& merges, TextMap<std::string, int32_t> words)
    : options_(options), merges_(merges.size()), words_(std::move(words)) {
  for (const Pair& merge : merges) merges_.insert(merge.left, merge.right, {merge.rank, merge.merged});
}

void BpeModel::encode(std::string_view word, BpeCall& call) const {
  // A word that may be looked up whole must stay whole.
  if (options_.characters == nullptr || options_.ignore_merges) return encode_piece(word, call);
  for (size_t from = 0; from < word.size();) {
    const size_t end = options_.characters->next_cut(word, from);
    encode_piece(word.substr(from, end - from), call);
    from = end;
  }
}

void BpeModel::encode_piece(std::string_view word, BpeCall& call) const {
  if (word.empty()) return;
  if (word.size() > BpeCall::kMaxWord) return encode_new(word, call);
  const uint64_t hash = hash_of(word);
  const uint32_t tag = static_cast<uint32_t>(hash >> 32);
  BpeCall::Word& known = call.words_[hash & (call.words_.size() - 1)];
  if (known.tag == tag && known.bytes == word.size() && std::memcmp(known.text.data(), word.data(), word.size()) == 0) {
    call.ids.insert(call.ids.end(), known.ids.begin(), known.ids.begin() + known.count);
    return;
  }
  const size_t first = call.ids.size();
  encode_new(word, call);
  const size_t count = call.ids.size() - first;
  if (count > BpeCall::kMaxIds) return;
  known.tag = tag;
  known.bytes = static_cast<uint8_t>(word.size());
  known.count = static_cast<uint8_t>(count);
  std::memcpy(known.text.data(), word.data(), word.size());
  std::copy_n(call.ids.end() - static_cast<ptrdiff_t>(count), count, known.ids.begin());
}

void BpeModel::encode_new(std::string_view word, BpeCall& call) const {
  if (options_.ignore_merges) {
    const auto found = words_.find(word);
    if (found != words_.end()) {
      call.ids.push_back(found->second);
      return;
    }
  }
  call.parts_.clear();
  if (options_.characters != nullptr) {
    options_.characters->append_symbols(word, call.parts_);
  } else {
    for (const char byte : word) {
      const int32_t id = options_.byte_ids[static_cast<uint8_t>(byte)];
      if (id >= 0) call.parts_.push_back(id);
    }
  }
  if (call.parts_.size() <= kShortWord) {
    merge_short(call);
  } else {
    merge_long(call);
  }
}

void BpeModel::merge_short(BpeCall& call) const {
  std::vector<int32_t>& parts = call.parts_;
  std::vector<MergeTable::Merge>& merges = call.merges_;
  merges.resize(parts.size());  // [i] merges parts i and i + 1; the last one never does
  for (size_t i = 0; i + 1 < parts.size(); ++i) merges[i] = merges_.find(parts[i], parts[i + 1]);
  if (!merges.empty()) merges.back() = {};
  while (parts.size() > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < parts.size(); ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == UINT32_MAX) break;
    parts[best] = merges[best].id;
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
    merges.erase(merges.begin() + static_cast<ptrdiff_t>(best));
    if (best > 0) merges[best - 1] = merges_.find(parts[best - 1], parts[best]);
    if (best + 1 < parts.size()) merges[best] = merges_.find(parts[best], parts[best + 1]);
  }
  call.ids.insert(call.ids.end(), parts.begin(), parts.end());
}

// The queue holds rank << 32 | position of the left symbol. An entry is stale when the pair at its position has another
// rank by now. (Where several pairs share a rank, one of them may be taken for another: both stand in the queue with
// the same key, so that the order is the same.)
void BpeModel::merge_long(BpeCall& call) const {
  std::vector<BpeCall::Symbol>& symbols = call.symbols_;
  std::vector<uint64_t>& queue = call.queue_;
  const uint32_t count = static_cast<uint32_t>(call.parts_.size());
  symbols.resize(count);
  queue.clear();
  for (uint32_t i = 0; i < count; ++i) {
    symbols[i] = {call.parts_[i], i == 0 ? kNoNeighbour : i - 1, i + 1 == count ? kNoNeighbour : i + 1};
  }
  const auto push = [&](uint32_t at) {
    if (at == kNoNeighbour || symbols[at].next == kNoNeighbour) return;
    const uint32_t rank = merges_.find(symbols[at].id, symbols[symbols[at].next].id).rank;
    if (rank == UINT32_MAX) return;
    queue.push_back(static_cast<uint64_t>(rank) << 32 | at);
    std::push_heap(queue.begin(), queue.end(), std::greater<>());
  };
  for (uint32_t i = 0; i + 1 < count; ++i) push(i);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const uint32_t at = static_cast<uint32_t>(queue.back());
    const uint32_t rank = static_cast<uint32_t>(queue.back() >> 32);
    queue.pop_back();
    const uint32_t next = symbols[at].next;
    if (symbols[at].id < 0 || next == kNoNeighbour) continue;  // swallowed by its left neighbour, or last by now
    const MergeTable::Merge merge = merges_.find(symbols[at].id, symbols[next].id);
    if (merge.rank != rank) continue;
    symbols[at].id = merge.id;
    symbols[at].next = symbols[next].next;
    if (symbols[at].next != kNoNeighbour) symbols[symbols[at].next].previous = at;
    symbols[next].id = -1;
    push(symbols[at].previous);
    push(at);
  }
  for (uint32_t i = 0; i != kNoNeighbour; i = symbols[i].next) call.ids.push_back(symbols[i].id);
}

}  // namespace gridquant::text
