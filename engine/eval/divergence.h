// How far a quantized model's next-token distribution is from the original's. Sums in fp64 in token order, so the same
// bits for any number of threads as long as callers merge in sequence order.
#pragma once

#include <cstdint>
#include <span>

#include "engine/tensor/tensor.h"

namespace gridquant::eval {

struct Divergence {
  int64_t tokens = 0;          // predicted tokens
  double nll_original = 0;     // sums of -ln p(target), nats
  double nll_quantized = 0;
  double kl = 0;               // sum over tokens of KL(original || quantized), nats, over the whole vocabulary
  double kl_max = 0;
  int64_t top1_agree = 0;

  void merge(const Divergence& other);
  double perplexity_original() const;
  double perplexity_quantized() const;
  double kl_mean() const;
  double top1_agreement() const;  // 0..1
};

// Folds rows of logits [rows, vocab] fp32 of both models, and the token that really came next for each row.
void fold(tensor::Matrix<const float> original, tensor::Matrix<const float> quantized,
          std::span<const int32_t> targets, Divergence& into);

}  // namespace gridquant::eval
