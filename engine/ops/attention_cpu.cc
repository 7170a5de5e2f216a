// Op `attention` on the CPU: for every key/value head and every tile of queries, one product of the tile's queries (of
// all heads in the group) with the keys up to the tile's end, softmax in place, one product with the values. Tiles of
// keys after the diagonal or before the window are never touched. The scores stay in about half an L2 cache.
#include "engine/ops/attention.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/ops/head_tiles.h"
#include "engine/ops/product.h"
#include "engine/ops/softmax.h"

namespace gridquant::ops {
namespace {

constexpr int64_t kScoreBytes = 512 * 1024;

}  // namespace

struct AttentionScratch::State {
  absl::flat_hash_map<std::pair<Compute, ProductShape>, Product> products;
  Workspace scores, results, sums, library;

  Status multiply(Compute compute, const ProductShape& shape, const std::byte* a, const std::byte* b, float* c) {
    const auto key = std::make_pair(compute, shape);
    auto found = products.find(key);
    if (found == products.end()) {
      GQ_ASSIGN_OR_RETURN(Product product, Product::create(compute, shape));
      found = products.emplace(key, std::move(product)).first;
    }
    return found->second.run(a, b, c, library);
  }
};

AttentionScratch::AttentionScratch() : state_(std::make_unique<State>()) {}
AttentionScratch::~AttentionScratch() = default;
AttentionScratch::AttentionScratch(AttentionScratch&&) noexcept = default;
AttentionScratch& AttentionScratch::operator=(AttentionScratch&&) noexcept = default;

// One call of the op.
class AttentionRun {
 public:
  AttentionRun(const AttentionShape& shape, const AttentionInput& input, const Operand& out, AttentionScratch& scratch)
      : shape_(shape),
        in_(input),
        out_(out),
        scratch_(*scratch.state_),
        tokens_(out.rows),
        group_(shape.heads / shape.kv_heads) {}

  Status run() {
    for (int64_t kv = 0; kv < shape_.kv_heads; ++kv) {
      for (int64_t begin = 0; begin < tokens_; begin += kTileTokens) {
        const int64_t rows = std::min(kTileTokens, tokens_ - begin);
        const int64_t keys = begin + rows - first_key(begin);
        const int64_t bytes_per_head = rows * padded(keys) * static_cast<int64_t>(sizeof(float));
        const int64_t at_once = std::clamp<int64_t>(kScoreBytes / bytes_per_head, 1, group_);
        for (int64_t first = 0; first < group_; first += at_once) {
          GQ_RETURN_IF_ERROR(run_tile({kv, begin, rows, first, std::min(at_once, group_ - first)}));
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  // Some heads of one key/value head's group over one tile of tokens.
  struct Tile {
    int64_t kv, begin, rows, first_head, heads;
  };

  // Where the keys of a tile of queries begin. A whole tile, so that the products of a long sequence have one shape.
  int64_t first_key(int64_t begin) const {
    const int64_t outside = shape_.window > 0 ? begin - shape_.window + 1 : 0;
    return outside > 0 ? outside / kTileTokens * kTileTokens : 0;
  }
  static int64_t padded(int64_t keys) { return (keys + 15) / 16 * 16; }

  Status run_tile(const Tile& t) {
    const Compute compute = in_.q.compute;
    const int64_t dim = shape_.head_dim;
    const int64_t first = first_key(t.begin);
    const int64_t keys = t.begin + t.rows - first;
    const int64_t stride = padded(keys);
    const int64_t m = t.heads * t.rows;
    float* scores = floats(scratch_.scores, m * stride);
    float* results = floats(scratch_.results, m * dim);
    float* inverse_sums = floats(scratch_.sums, m);
    const Operand q = in_.q.row_range(head_row(group_, tokens_, t.kv * group_ + t.first_head, t.begin), m);
    const Operand k = in_.k.row_range(t.kv * tokens_ + first, keys);
    const Operand v = in_.v.row_range(t.kv * tokens_ + first, keys);

    const ProductShape qk{m, keys, dim, dim, dim, stride, false, true};
    GQ_RETURN_IF_ERROR(scratch_.multiply(compute, qk, q.data, k.data, scores));
    softmax_tile(compute, {scores, m, keys, stride, t.begin - first, t.rows, inverse_sums, shape_.scale, shape_.window,
                           shape_.soft_cap});
    const ProductShape pv{m, dim, keys, stride, dim, dim, false, false};
    GQ_RETURN_IF_ERROR(scratch_.multiply(compute, pv, reinterpret_cast<const std::byte*>(scores), v.data, results));
    for (int64_t h = 0; h < t.heads; ++h) {
      Operand to = out_.row_range(t.begin, t.rows);
      to.data += static_cast<size_t>((t.kv * group_ + t.first_head + h) * dim) * operand_size(compute);
      to.cols = dim;
      scale_rows(results + h * t.rows * dim, inverse_sums + h * t.rows, to);
    }
    return absl::OkStatus();
  }

  static float* floats(Workspace& workspace, int64_t count) {
    return reinterpret_cast<float*>(workspace.reserve(static_cast<size_t>(count) * sizeof(float)));
  }

  const AttentionShape& shape_;
  const AttentionInput& in_;
  const Operand& out_;
  AttentionScratch::State& scratch_;
  int64_t tokens_;
  int64_t group_;
};

Status attention(const AttentionShape& shape, const AttentionInput& input, const Operand& out,
                 AttentionScratch& scratch) {
  const auto fits = [&](const Operand& x, int64_t heads) {
    return x.rows == heads * out.rows && x.cols == shape.head_dim && x.stride == shape.head_dim &&
           x.compute == out.compute;
  };
  const bool shapes_fit = shape.head_dim > 0 && shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 &&
                          shape.window >= 0 && shape.soft_cap >= 0 && out.cols == shape.heads * shape.head_dim &&
                          fits(input.q, shape.heads) && fits(input.k, shape.kv_heads) && fits(input.v, shape.kv_heads);
  if (!shapes_fit) {
    return absl::InvalidArgumentError(absl::StrCat(
        "attention: ", shape.heads, " heads over ", shape.kv_heads, " key/value heads of ", shape.head_dim, ", q rows ",
        input.q.rows, ", k rows ", input.k.rows, ", v rows ", input.v.rows, ", out ", out.rows, " x ", out.cols));
  }
  return AttentionRun(shape, input, out, scratch).run();
}

}  // namespace gridquant::ops
