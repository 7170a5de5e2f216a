// Routing of a mixture of experts: which tokens of a sequence go to which experts, and with what weight. Decided once
// per sequence and block, from the router's logits, and kept until the block ends. Not here: the products.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor/tensor.h"

namespace gridquant::model {

// A *packed row* is one token on its way through one expert. Packed rows lie expert by expert, within an expert by
// token: expert e has the rows [begins[e], begins[e + 1]). Empty (no experts) in a dense block.
struct Routing {
  std::vector<int64_t> begins;  // [experts + 1]
  std::vector<int32_t> tokens;  // [tokens * top_k], per packed row: which token of the sequence
  std::vector<float> weights;   // [tokens * top_k], per packed row: the factor of the expert's output

  int64_t experts() const { return begins.empty() ? 0 : static_cast<int64_t>(begins.size()) - 1; }
  int64_t begin(int64_t expert) const { return begins[static_cast<size_t>(expert)]; }
  int64_t count(int64_t expert) const { return begin(expert + 1) - begin(expert); }
  std::span<const int32_t> tokens_of(int64_t expert) const {
    return std::span(tokens).subspan(static_cast<size_t>(begin(expert)), static_cast<size_t>(count(expert)));
  }
};

struct RoutingRule {
  int64_t top_k = 0;        // experts per token, 1 .. experts
  bool normalized = false;  // the weights of a token's experts are divided by their sum
};

// `logits` is [tokens, experts]. Every token goes to its top_k largest logits, the lower expert first among equals; its
// weights are the softmax over all experts. Logits that are NaN rank as equal to every other. Overwrites `out`, whose
// memory is used again.
void route(tensor::Matrix<const float> logits, const RoutingRule& rule, Routing& out);

}  // namespace gridquant::model
