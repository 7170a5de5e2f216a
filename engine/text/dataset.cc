#include "engine/text/dataset.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/base/digest.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
  }

 private:
  uint64_t state_;
};

std::vector<int64_t> indices_up_to(int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

// No standard distribution or shuffle: each library has its own.
void shuffle_by(uint64_t seed, std::vector<int64_t>& values) {
  SplitMix64 random(seed);
  for (size_t i = values.size(); i-- > 1;) {
    const auto j = static_cast<size_t>(static_cast<unsigned __int128>(random.next()) * (i + 1) >> 64);
    std::swap(values[i], values[j]);
  }
}

std::string with_separators(int64_t number) {
  std::string digits = std::to_string(number);
  for (size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

std::string name_of(const DatasetSpec& spec) {
  return "text " + spec.path + (spec.language.empty() ? "" : " (" + spec.language + ")");
}

std::string little_endian(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
  return text;
}

Status check_enough(const DatasetSpec& spec, int64_t length, int64_t tokens) {
  const int64_t windows = tokens / length;
  const int64_t needed = std::max<int64_t>(spec.samples, 1);
  if (windows >= needed) return absl::OkStatus();
  return absl::FailedPreconditionError(name_of(spec) + " gives " + with_separators(windows) + " windows of " +
                                       with_separators(length) + " tokens (" + with_separators(tokens) + " tokens), " +
                                       with_separators(needed) + (needed == 1 ? " is" : " are") +
                                       " needed: add text, lower samples or sequenceLength");
}

}  // namespace

StatusOr<Sequences> load_sequences(base::Env& env, const Tokenizer& tokenizer, const DatasetSpec& spec, int64_t length,
                                   uint64_t seed, bool shuffle) {
  if (length < 1) {
    return absl::InvalidArgumentError("sequenceLength must be at least 1, found " + std::to_string(length));
  }
  if (spec.samples < 0) {
    return absl::InvalidArgumentError("samples must not be negative, found " + std::to_string(spec.samples));
  }
  const StatusOr<std::string> text = base::read_file(env, spec.path);
  if (!text.ok()) return annotate(text.status(), name_of(spec));
  if (text->empty()) return absl::FailedPreconditionError(name_of(spec) + " is empty");
  const std::string invalid = find_invalid_utf8(*text);
  if (!invalid.empty()) return absl::InvalidArgumentError(name_of(spec) + " is not UTF-8 at " + invalid);
  const StatusOr<std::vector<int32_t>> ids = tokenizer.encode(*text, true);
  if (!ids.ok()) return annotate(ids.status(), name_of(spec));

  const int64_t tokens = static_cast<int64_t>(ids->size());
  GQ_RETURN_IF_ERROR(check_enough(spec, length, tokens));
  const int64_t windows = tokens / length;
  const int64_t taken = spec.samples == 0 ? windows : spec.samples;
  std::vector<int64_t> order = indices_up_to(windows);
  if (shuffle && spec.samples > 0) shuffle_by(seed, order);

  Sequences sequences{spec.language, length, {}, tokens};
  sequences.ids.reserve(static_cast<size_t>(taken * length));
  for (int64_t i = 0; i < taken; ++i) {
    const auto first = ids->begin() + order[static_cast<size_t>(i)] * length;
    sequences.ids.insert(sequences.ids.end(), first, first + length);
  }
  return sequences;
}

std::string find_invalid_utf8(std::string_view text) {
  const size_t at = first_invalid_utf8(text);
  if (at == kAllValid) return "";
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n');
  return "line " + std::to_string(line) + ", byte " + std::to_string(at);
}

std::string digest_of_sequences(const std::vector<Sequences>& all) {
  base::Digester digester;
  for (const Sequences& sequences : all) {
    digester.update(little_endian(static_cast<uint64_t>(sequences.length), 8));
    digester.update(little_endian(sequences.ids.size(), 8));
    std::string ids;
    ids.reserve(sequences.ids.size() * 4);
    for (const int32_t id : sequences.ids) {
      const auto bits = static_cast<uint32_t>(id);
      for (int shift = 0; shift < 32; shift += 8) ids.push_back(static_cast<char>(bits >> shift & 0xFF));
    }
    digester.update(ids);
  }
  return digester.finish();
}

}  // namespace gridquant::text
