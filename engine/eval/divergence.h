// How far a quantized model's next-token distribution is from the original's. Sums in fp64 in token order, so the same
// bits for any number of threads as long as callers merge in sequence order.
#pragma once

#include <cstdint>
#include <span>

#include "engine/tensor/tensor.h"

namespace gridquant::eval {

struct Divergence {
  int64_t tokens = 0;       // predicted tokens
  double nll_original = 0;  // sums of -ln p(target), nats
  double nll_quantized = 0;
  double kl = 0;  // sum over tokens of KL(original || quantized), nats, over the whole vocabulary
  double kl_max = 0;
  int64_t top1_agree = 0;

  void merge(const Divergence& other);
  double perplexity_original() const;
  double perplexity_quantized() const;
  double kl_mean() const;
  double top1_agreement() const;  // 0..1
};

// What is known of one predicted token while its logits come in parts of the vocabulary. Exponents are relative to the
// largest logit so far.
struct PartialRow {
  float max_a = 0;     // of the original
  float max_b = 0;     // of the quantized model
  float best_b = 0;    // b where a is largest (the first of equal ones)
  float target_a = 0;  // logits of the token that really came next
  float target_b = 0;
  double sum_a = 0;  // sum of exp(a - max_a)
  double sum_b = 0;
  double dot = 0;  // sum of exp(a - max_a) * ((a - max_a) - (b - max_b))
  bool begun = false;
  bool found = false;  // false: a's largest logit is NaN
};

// Adds the logits [rows, n] fp32 of the tokens first_id .. first_id + n - 1 of both models; each row's target is the
// token that really came next. Parts must come in order and not overlap; one part that is the whole vocabulary gives
// the same bits as ever.
void add_part(tensor::Matrix<const float> original, tensor::Matrix<const float> quantized, int64_t first_id,
              std::span<const int32_t> targets, std::span<PartialRow> rows);
// Rows whose whole vocabulary was added.
void fold_rows(std::span<const PartialRow> rows, Divergence& into);

// Folds rows of logits [rows, vocab] fp32 of both models, and the token that really came next for each row.
void fold(tensor::Matrix<const float> original, tensor::Matrix<const float> quantized, std::span<const int32_t> targets,
          Divergence& into);

}  // namespace gridquant::eval
