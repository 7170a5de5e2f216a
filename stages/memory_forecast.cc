// What quantize holds at each moment of a block's work, moment by moment; the forecast is the most of any. Every term
// is named, so that a wrong one can be found.
#include "stages/memory_forecast.h"

#include <algorithm>
#include <map>
#include <vector>

#include "stages/block_loop.h"

namespace gridquant::stages {
namespace {

constexpr uint64_t kFloat = 4;
// Code and data of the program and its libraries, stacks. This and the slack fit what was measured of small models.
constexpr uint64_t kProcess = 20ull << 20;
// What the allocator keeps between allocations that are too small for a mapping of their own.
constexpr uint64_t kSlackPercent = 16;
constexpr uint64_t kSlackOf = 128ull << 20;      // at most
constexpr uint64_t kPerThread = 3ull << 20;      // work memory of the libraries
constexpr uint64_t kTileRows = 48;               // of a solver's tile of rows: weights, errors, codes
constexpr uint64_t kGramPartials = 64ull << 20;  // of sums of subtrees of the row groups; at least one triangle
constexpr uint64_t kMaxGroups = 8;

struct Weight {
  uint64_t elements = 0;
  uint64_t stored = 0;  // bytes between reading and use
  bool quantized = false;
};

struct SiteWeights {
  uint64_t width = 0;
  std::vector<Weight> weights;  // of the site's dense weights, or of all its experts
  uint64_t elements() const {
    uint64_t sum = 0;
    for (const Weight& w : weights) sum += w.elements;
    return sum;
  }
  uint64_t largest() const {
    uint64_t most = 0;
    for (const Weight& w : weights) most = std::max(most, w.elements);
    return most;
  }
};

std::vector<SiteWeights> weights_of(const ModelSource& source, const Plan& plan, int64_t b) {
  std::map<std::string, const model::TensorSpec*> specs;
  const std::vector<model::TensorSpec> tensors = source.block(b);
  for (const model::TensorSpec& spec : tensors) specs[spec.name] = &spec;
  std::vector<SiteWeights> sites;
  for (const model::SiteSpec& site : source.architecture->sites(source.config, b)) {
    SiteWeights& of = sites.emplace_back();
    of.width = static_cast<uint64_t>(site.width);
    for (const std::string& name : site.weights) {
      const auto found = specs.find(name);
      const formats::TensorEntry* entry = source.tensors->find(name);
      if (found == specs.end() || entry == nullptr) continue;
      const PlannedTensor* planned = plan.find(name);
      of.weights.push_back({static_cast<uint64_t>(tensor::element_count(found->second->shape)), entry->bytes,
                            planned != nullptr && planned->quantize});
    }
  }
  return sites;
}

uint64_t stored_bytes(const std::vector<SiteWeights>& sites, size_t from) {
  uint64_t bytes = 0;
  for (size_t s = from; s < sites.size(); ++s) {
    for (const Weight& w : sites[s].weights) bytes += w.stored;
  }
  return bytes;
}

// Of the Hessian's sum, beside its result: the upper triangle once for each subtree of the row groups. Over ranks: what
// a rank has summed, at most two subtrees with their copy, and what it receives of all.
uint64_t gram_partials(uint64_t k, int ranks) {
  const uint64_t triangle = k * (k + 1) / 2 * kFloat;
  if (ranks > 1) return 4 * triangle;
  return triangle * std::clamp<uint64_t>(kGramPartials / std::max<uint64_t>(1, triangle), 1, kMaxGroups);
}

// The most of a block's moments, without what all moments have.
uint64_t block_peak(const std::vector<SiteWeights>& sites, const MemorySetting& setting) {
  const auto threads = static_cast<uint64_t>(setting.threads);
  const uint64_t element = ops::operand_size(setting.compute);
  uint64_t most = 0;
  uint64_t codes = 0;  // one byte each, until the block is written
  for (size_t s = 0; s < sites.size(); ++s) {
    const uint64_t k = sites[s].width;
    const uint64_t hessian = k * k * kFloat;
    const uint64_t stored = stored_bytes(sites, s);
    // The result's pages are touched as the partial sums are given back.
    most = std::max(most,
                    stored + codes + (setting.forward ? std::max(hessian, gram_partials(k, setting.ranks)) : hessian));
    const uint64_t solver = threads * k * kTileRows * (2 * kFloat + 1);
    uint64_t solved = 0;  // stored bytes of the site that are gone already
    for (const Weight& w : sites[s].weights) {
      if (!w.quantized) continue;
      codes += w.elements;
      solved += w.stored;
      most = std::max(most, stored - solved + codes + hessian + solver + w.elements * kFloat);
    }
    if (!setting.forward) continue;
    // Made again from their codes and packed for products: as many at once as there are threads.
    const uint64_t at_once = std::min<uint64_t>(threads, sites[s].weights.size());
    most =
        std::max(most, stored - solved + codes + sites[s].elements() * element + at_once * sites[s].largest() * kFloat);
  }
  return most;
}

// Per thread: the block's inner activations of one sequence.
uint64_t scratch_of_thread(const ModelSource& source, uint64_t length, ops::Compute compute) {
  const model::ModelConfig& c = source.config;
  const uint64_t element = ops::operand_size(compute);
  const uint64_t at_once = std::min(length, uint64_t{ops::kRowsAtFullSpeed});
  const auto heads = static_cast<uint64_t>(c.head_count * c.head_dim);
  const auto kv_heads = static_cast<uint64_t>(c.kv_head_count * c.head_dim);
  const uint64_t products = std::max(length * heads, 2 * at_once * static_cast<uint64_t>(c.intermediate_size));
  const uint64_t rope = length * static_cast<uint64_t>(c.head_dim);
  return (products + rope) * kFloat + length * (heads + 2 * kv_heads) * element + length * length * kFloat;
}

}  // namespace

uint64_t forecast_memory(const ModelSource& source, const Plan& plan, const TokenSet& tokens,
                         const MemorySetting& setting) {
  const auto rows = static_cast<uint64_t>(tokens.count() * tokens.length);
  const auto threads = static_cast<uint64_t>(setting.threads);
  const uint64_t element = ops::operand_size(setting.compute);
  uint64_t peak = 0;
  uint64_t stored = 0;
  uint64_t written = 0;
  for (int64_t b = 0; b < source.config.block_count; ++b) {
    const std::vector<SiteWeights> sites = weights_of(source, plan, b);
    peak = std::max(peak, block_peak(sites, setting));
    stored = std::max(stored, stored_bytes(sites, 0));
    uint64_t elements = 0;
    for (const SiteWeights& site : sites) elements += site.elements();
    written = std::max(written, elements * static_cast<uint64_t>(plan.options.grid.bits) / 8);
  }
  const uint64_t ahead = setting.prefetch && source.config.block_count > 1 ? stored : 0;
  uint64_t activations = 0;
  uint64_t spilled_at_once = 0;
  if (plan.solver == "gptq" && setting.forward) {
    uint64_t left = setting.budget;
    const uint64_t buffers[] = {rows * static_cast<uint64_t>(source.config.hidden_size) * kFloat,
                                rows * static_cast<uint64_t>(widest_site(source, 0).per_token) * element,
                                rows * static_cast<uint64_t>(widest_site(source, 1).per_token) * element};
    for (const uint64_t bytes : buffers) {
      // What lies in a file is mapped while a site's Hessian is made of it, one buffer at a time.
      if (bytes > left) {
        spilled_at_once = std::max(spilled_at_once, bytes);
        continue;
      }
      left -= bytes;
      activations += bytes;
    }
    activations += spilled_at_once;
    activations += threads * scratch_of_thread(source, static_cast<uint64_t>(tokens.length), setting.compute);
  }
  const uint64_t held = peak + ahead + written + activations;
  return held + std::min(held, kSlackOf) * kSlackPercent / 100 + kProcess + threads * kPerThread;
}

}  // namespace gridquant::stages
