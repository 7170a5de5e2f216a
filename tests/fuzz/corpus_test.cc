// Every fuzz target over its corpus, and over cheap damage to each file of it: cut short, one byte changed. What a
// fuzzer once found stays in the corpus, so it is looked at in every test run and under every compiler.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/env.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {
namespace {

constexpr size_t kDamages = 40;  // of each kind, per file

struct Sample {
  std::string name;
  std::string bytes;
};

std::vector<Sample> corpus_of(const Target& target) {
  const std::string folder = absl::StrCat(GRIDQUANT_SOURCE_DIR, "/tests/fuzz/corpus/", target.name);
  std::vector<Sample> samples;
  const auto names = base::posix_env().list(folder);
  EXPECT_TRUE(names.ok()) << names.status();
  for (const std::string& name : names.value_or(std::vector<std::string>())) {
    const auto bytes = base::read_file(base::posix_env(), base::join_path(folder, name));
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    samples.push_back({name, bytes.value_or("")});
  }
  return samples;
}

class Corpus : public ::testing::TestWithParam<Target> {};

TEST_P(Corpus, NothingCrashes) {
  const Target& target = GetParam();
  target.run("");
  const std::vector<Sample> samples = corpus_of(target);
  EXPECT_GE(samples.size(), 2u) << "no corpus";
  for (const Sample& sample : samples) {
    SCOPED_TRACE(sample.name);
    target.run(sample.bytes);
    const size_t step = std::max<size_t>(1, sample.bytes.size() / kDamages);
    for (size_t at = 0; at < sample.bytes.size(); at += step) {
      target.run(std::string_view(sample.bytes).substr(0, at));
      std::string damaged = sample.bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
      target.run(damaged);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Corpus, ::testing::ValuesIn(all_targets().begin(), all_targets().end()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace gridquant::fuzz
