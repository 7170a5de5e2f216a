// oneDNN matmul behind ops/product.h. Scratchpads are the caller's: the library's own is thread-local memory sized by
// the thread that created the primitive, and ours are created on one thread and run on others.
#include "engine/ops/product.h"

#include <omp.h>
#include <dnnl.hpp>

#include <exception>

#include "absl/strings/str_cat.h"
#include "engine/ops/amx_tiles.h"
#include "engine/ops/gram_tile.h"

namespace gridquant::ops {
namespace {

using DnnlType = dnnl::memory::data_type;

constexpr size_t kAlign = 64;

size_t aligned(size_t bytes) {
  return (bytes + kAlign - 1) / kAlign * kAlign;
}

// Elements that a stored matrix of `rows` rows spans, from its first to its last.
int64_t span_of(int64_t rows, int64_t cols, int64_t stride) {
  return rows == 0 ? 0 : (rows - 1) * stride + cols;
}

void widen(const std::byte* from, int64_t count, std::byte* to) {
  tensor::bf16_to_f32({reinterpret_cast<const tensor::BF16*>(from), static_cast<size_t>(count)},
                      {reinterpret_cast<float*>(to), static_cast<size_t>(count)});
}

}  // namespace

bool library_has_bf16_products() {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

bool has_amx_products() {
  return dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx && amx_is_permitted();
}

GramTileFn gram_tile_for(Compute compute) {
  if (compute == Compute::kF32 || !library_has_bf16_products()) return &gram_tile_f32;
  if (dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_bf16) return &gram_tile_bf16;
  return has_amx_products() ? &gram_tile_amx : nullptr;
}

SingleThreaded::SingleThreaded() : before_(omp_get_max_threads()) {
  omp_set_num_threads(1);
}

SingleThreaded::~SingleThreaded() {
  omp_set_num_threads(before_);
}

std::byte* Workspace::reserve(size_t bytes) {
  if (buffer_.size() < bytes) buffer_ = tensor::Buffer(aligned(bytes));
  return buffer_.data();
}

struct Product::State {
  ProductShape shape;
  bool widened = false;  // bf16 operands on a library without bf16 products
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::matmul primitive;
  dnnl::memory::desc a, b, c, scratchpad;
};

Product::Product() = default;
Product::~Product() = default;
Product::Product(Product&&) noexcept = default;
Product& Product::operator=(Product&&) noexcept = default;

StatusOr<Product> Product::create(Compute compute, const ProductShape& s) {
  const SingleThreaded single;
  try {
    auto state = std::make_unique<State>();
    state->shape = s;
    state->widened = compute == Compute::kBF16 && !library_has_bf16_products();
    const DnnlType type = compute == Compute::kBF16 && !state->widened ? DnnlType::bf16 : DnnlType::f32;
    const auto strides = [](bool transposed, int64_t stride) {
      return transposed ? dnnl::memory::dims{1, stride} : dnnl::memory::dims{stride, 1};
    };
    state->a = {{s.m, s.k}, type, strides(s.a_transposed, s.a_stride)};
    state->b = {{s.k, s.n}, type, strides(s.b_transposed, s.b_stride)};
    state->c = {{s.m, s.n}, DnnlType::f32, dnnl::memory::dims{s.c_stride, 1}};
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc description({state->a, state->b, state->c}, attributes, state->engine);
    state->primitive = dnnl::matmul(description);
    state->scratchpad = description.scratchpad_desc();
    Product product;
    product.state_ = std::move(state);
    return product;
  } catch (const std::exception& e) {
    return absl::InternalError(
        absl::StrCat("oneDNN cannot make the product ", s.m, " x ", s.n, " x ", s.k, ": ", e.what()));
  }
}

Status Product::run(const std::byte* a, const std::byte* b, float* c, Workspace& workspace) const {
  const SingleThreaded single;
  const State& state = *state_;
  const ProductShape& s = state.shape;
  try {
    const size_t scratch = aligned(state.scratchpad.get_size());
    std::byte* memory = nullptr;
    if (state.widened) {
      const int64_t a_span = s.a_transposed ? span_of(s.k, s.m, s.a_stride) : span_of(s.m, s.k, s.a_stride);
      const int64_t b_span = s.b_transposed ? span_of(s.n, s.k, s.b_stride) : span_of(s.k, s.n, s.b_stride);
      const size_t a_bytes = aligned(static_cast<size_t>(a_span) * sizeof(float));
      memory = workspace.reserve(scratch + a_bytes + static_cast<size_t>(b_span) * sizeof(float));
      widen(a, a_span, memory + scratch);
      widen(b, b_span, memory + scratch + a_bytes);
      a = memory + scratch;
      b = memory + scratch + a_bytes;
    } else {
      memory = workspace.reserve(scratch + 1);
    }
    dnnl::stream stream(state.engine);
    const auto argument = [&](const dnnl::memory::desc& desc, const void* data) {
      return dnnl::memory(desc, state.engine, const_cast<void*>(data));
    };
    state.primitive.execute(stream, {{DNNL_ARG_SRC, argument(state.a, a)},
                                     {DNNL_ARG_WEIGHTS, argument(state.b, b)},
                                     {DNNL_ARG_DST, argument(state.c, c)},
                                     {DNNL_ARG_SCRATCHPAD, argument(state.scratchpad, memory)}});
    stream.wait();
    return absl::OkStatus();
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("oneDNN product ", s.m, " x ", s.n, " x ", s.k, ": ", e.what()));
  }
}

}  // namespace gridquant::ops
