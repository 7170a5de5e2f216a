// Conformance rows of the ops that are made of library products.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/ops/attention.h"
#include "engine/ops/attention_step.h"
#include "engine/ops/gram.h"
#include "engine/ops/head_tiles.h"
#include "engine/ops/linear.h"
#include "tests/conformance/ops/table.h"

namespace gridquant::ops {
namespace {

// Products of both compute types accumulate in fp32: the error is that of the sum, relative to the sum of magnitudes.
double sum_limit(double magnitudes) {
  return 1e-6 * magnitudes + 1e-30;
}

// dims: rows, out, in
void check_linear(Compute compute, const std::vector<int64_t>& d) {
  const int64_t rows = d[0], out = d[1], in = d[2];
  const Input x = make_input(compute, rows, in, 1);
  const Input w = make_input(compute, out, in, 2);
  const std::vector<float> w32(w.values.begin(), w.values.end());
  auto weight = LinearWeight::pack(compute, tensor::Matrix<const float>{w32.data(), out, in, in});
  ASSERT_TRUE(weight.ok()) << weight.status();
  std::vector<float> y(static_cast<size_t>(rows * out), 7.0f);
  std::vector<float> added = random_floats(rows * out, 3);
  const std::vector<float> before = added;
  ASSERT_TRUE(weight->multiply(x.operand.view(), matrix_of(y, rows, out)).ok());
  ASSERT_TRUE(weight->multiply_add(x.operand.view(), matrix_of(added, rows, out)).ok());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0, magnitudes = 0;
      for (int64_t i = 0; i < in; ++i) {
        sum += x.at(r, i) * w.at(o, i);
        magnitudes += std::fabs(x.at(r, i) * w.at(o, i));
      }
      const auto at = static_cast<size_t>(r * out + o);
      ASSERT_NEAR(y[at], sum, sum_limit(magnitudes)) << "row " << r << " column " << o;
      ASSERT_NEAR(added[at], sum + before[at], sum_limit(magnitudes + std::fabs(before[at])));
    }
  }
}

// dims: rows, cols, rows per group
void check_gram(Compute compute, const std::vector<int64_t>& d) {
  const int64_t rows = d[0], cols = d[1], per_group = d[2];
  const Input x = make_input(compute, rows, cols, 4);
  std::vector<RowGroup> groups;
  for (int64_t begin = 0; begin < rows; begin += per_group) {
    groups.push_back({begin, std::min(per_group, rows - begin)});
  }
  device::ThreadPool pool(2);
  std::vector<float> h(static_cast<size_t>(cols * cols), 7.0f);
  ASSERT_TRUE(gram(x.operand.view(), groups, pool, matrix_of(h, cols, cols)).ok());
  for (int64_t i = 0; i < cols; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      double sum = 0, magnitudes = 0;
      for (int64_t r = 0; r < rows; ++r) {
        sum += x.at(r, i) * x.at(r, j);
        magnitudes += std::fabs(x.at(r, i) * x.at(r, j));
      }
      ASSERT_NEAR(h[static_cast<size_t>(i * cols + j)], sum, sum_limit(magnitudes)) << i << ", " << j;
      ASSERT_EQ(h[static_cast<size_t>(i * cols + j)], h[static_cast<size_t>(j * cols + i)]) << i << ", " << j;
    }
  }
}

// The attention of one head and token in fp64. `shape` says window and soft cap.
std::vector<double> attend(const AttentionShape& shape, const Input& q, const Input& k, const Input& v,
                           const std::vector<int64_t>& at) {
  const int64_t q_row = at[0], kv_row = at[1], token = at[2];
  const int64_t dim = q.operand.view().cols;
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  const double cap = shape.soft_cap;
  const int64_t first = shape.window > 0 ? std::max<int64_t>(0, token - shape.window + 1) : 0;
  std::vector<double> weights;
  for (int64_t t = first; t <= token; ++t) {
    double score = 0;
    for (int64_t c = 0; c < dim; ++c) score += q.at(q_row, c) * k.at(kv_row + t, c);
    weights.push_back(cap > 0 ? cap * std::tanh(score * scale / cap) : score * scale);
  }
  const double max = *std::ranges::max_element(weights);
  double total = 0;
  for (double& w : weights) total += w = std::exp(w - max);
  std::vector<double> out(static_cast<size_t>(dim));
  for (int64_t t = first; t <= token; ++t) {
    for (int64_t c = 0; c < dim; ++c) {
      out[static_cast<size_t>(c)] += weights[static_cast<size_t>(t - first)] / total * v.at(kv_row + t, c);
    }
  }
  return out;
}

// dims: tokens, heads, kv heads, head dim, window, soft cap in tenths
void check_attention(Compute compute, const std::vector<int64_t>& d) {
  const int64_t tokens = d[0], heads = d[1], kv_heads = d[2], dim = d[3];
  const Input q = make_input(compute, heads * tokens, dim, 5);
  const Input k = make_input(compute, kv_heads * tokens, dim, 6);
  const Input v = make_input(compute, kv_heads * tokens, dim, 7);
  const OperandBuffer out(compute, tokens, heads * dim);
  AttentionScratch scratch;
  AttentionShape shape{heads, kv_heads, dim, 1.0f / std::sqrt(static_cast<float>(dim))};
  if (d.size() > 4) shape.window = d[4], shape.soft_cap = static_cast<float>(d[5]) / 10.0f;
  const AttentionInput input{q.operand.view(), k.operand.view(), v.operand.view()};
  ASSERT_TRUE(attention(shape, input, out.view(), scratch).ok());
  const int64_t group = heads / kv_heads;
  const double limit = compute == Compute::kBF16 ? 1e-2 : 2e-5;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t token = 0; token < tokens; ++token) {
      const auto want = attend(shape, q, k, v, {head_row(group, tokens, head, token), (head / group) * tokens, token});
      double largest = 0;
      for (const double w : want) largest = std::max(largest, std::fabs(w));
      for (int64_t c = 0; c < dim; ++c) {
        ASSERT_NEAR(value_at(out.view(), token, head * dim + c), want[static_cast<size_t>(c)], limit * largest)
            << "head " << head << " token " << token;
      }
    }
  }
}

// The tokens of some sequences one after the other. dims: tokens, sequences, then as above from heads on
void check_attention_step(Compute compute, const std::vector<int64_t>& d) {
  const int64_t tokens = d[0], sequences = d[1], heads = d[2], kv_heads = d[3], dim = d[4];
  const int64_t group = heads / kv_heads;
  std::vector<Input> q, k, v;
  for (uint32_t s = 0; s < sequences; ++s) {
    q.push_back(make_input(compute, heads * tokens, dim, 3 * s));
    k.push_back(make_input(compute, kv_heads * tokens, dim, 3 * s + 1));
    v.push_back(make_input(compute, kv_heads * tokens, dim, 3 * s + 2));
  }
  AttentionShape shape{heads, kv_heads, dim, 1.0f / std::sqrt(static_cast<float>(dim))};
  shape.window = d[5], shape.soft_cap = static_cast<float>(d[6]) / 10.0f;
  KvCache cache(sequences, kv_heads, dim, tokens);
  const OperandBuffer one_q(compute, heads * sequences, dim), one_k(compute, kv_heads * sequences, dim),
      one_v(compute, kv_heads * sequences, dim), out(compute, sequences, heads * dim);
  const auto copy_row = [&](const Input& from, int64_t row, const OperandBuffer& to, int64_t at) {
    const Operand source = from.operand.view().row_range(row, 1);
    std::copy_n(source.data, static_cast<size_t>(dim) * operand_size(compute), to.view().row_range(at, 1).data);
  };
  const double limit = compute == Compute::kBF16 ? 1e-2 : 2e-5;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t s = 0; s < sequences; ++s) {
      for (int64_t h = 0; h < heads; ++h) {
        copy_row(q[static_cast<size_t>(s)], head_row(group, tokens, h, t), one_q, head_row(group, sequences, h, s));
      }
      for (int64_t h = 0; h < kv_heads; ++h) {
        copy_row(k[static_cast<size_t>(s)], h * tokens + t, one_k, h * sequences + s);
        copy_row(v[static_cast<size_t>(s)], h * tokens + t, one_v, h * sequences + s);
      }
    }
    ASSERT_TRUE(attention_step(shape, {one_q.view(), one_k.view(), one_v.view()}, out.view(), cache).ok());
    for (int64_t s = 0; s < sequences; ++s) {
      const auto own = static_cast<size_t>(s);
      for (int64_t h = 0; h < heads; ++h) {
        const auto want =
            attend(shape, q[own], k[own], v[own], {head_row(group, tokens, h, t), (h / group) * tokens, t});
        double largest = 0;
        for (const double w : want) largest = std::max(largest, std::fabs(w));
        for (int64_t c = 0; c < dim; ++c) {
          ASSERT_NEAR(value_at(out.view(), s, h * dim + c), want[static_cast<size_t>(c)], limit * largest)
              << "sequence " << s << " head " << h << " token " << t;
        }
      }
    }
  }
  EXPECT_FALSE(attention_step(shape, {one_q.view(), one_k.view(), one_v.view()}, out.view(), cache).ok());
}

}  // namespace

std::vector<Row> product_rows() {
  return {
      {"linear", "no_rows", check_linear, {0, 5, 7}},
      {"linear", "one", check_linear, {1, 1, 1}},
      {"linear", "one_row", check_linear, {1, 65, 33}},
      {"linear", "odd", check_linear, {17, 19, 131}},
      {"linear", "tails", check_linear, {129, 67, 63}},
      {"linear", "blocked", check_linear, {128, 192, 256}},
      {"gram", "no_rows", check_gram, {0, 9, 4}},
      {"gram", "one", check_gram, {1, 1, 1}},
      {"gram", "odd", check_gram, {37, 35, 10}},
      {"gram", "several_groups", check_gram, {200, 97, 29}},
      {"gram", "several_rectangles", check_gram, {64, 419, 16}},
      {"gram", "odd_rows", check_gram, {333, 160, 111}},
      {"attention", "no_tokens", check_attention, {0, 2, 1, 8}},
      {"attention", "one_token", check_attention, {1, 1, 1, 2}},
      {"attention", "odd_head", check_attention, {5, 3, 3, 10}},
      {"attention", "tile", check_attention, {64, 2, 2, 16}},
      {"attention", "tile_and_one", check_attention, {65, 4, 2, 32}},
      {"attention", "grouped", check_attention, {150, 9, 3, 64}},
      {"attention", "split_group", check_attention, {700, 4, 1, 16}},
      {"attention", "window_of_one", check_attention, {80, 2, 1, 16, 1, 0}},
      {"attention", "window_in_tile", check_attention, {200, 4, 2, 16, 13, 0}},
      {"attention", "window_of_tile", check_attention, {300, 2, 2, 8, 64, 0}},
      {"attention", "window_of_tiles", check_attention, {500, 3, 1, 10, 130, 0}},
      {"attention", "window_not_reached", check_attention, {90, 2, 1, 16, 90, 0}},
      {"attention", "soft_cap", check_attention, {150, 4, 2, 32, 0, 10}},
      {"attention", "soft_cap_and_window", check_attention, {230, 4, 2, 32, 37, 500}},
      {"attention_step", "one_token", check_attention_step, {1, 1, 1, 1, 2, 0, 0}},
      {"attention_step", "odd_head", check_attention_step, {5, 2, 3, 3, 10, 0, 0}},
      {"attention_step", "grouped", check_attention_step, {40, 3, 9, 3, 64, 0, 0}},
      {"attention_step", "many_sequences", check_attention_step, {17, 70, 4, 2, 16, 0, 0}},
      {"attention_step", "window", check_attention_step, {90, 2, 4, 2, 16, 21, 0}},
      {"attention_step", "soft_cap_and_window", check_attention_step, {60, 2, 4, 2, 16, 16, 5}},
  };
}

}  // namespace gridquant::ops
