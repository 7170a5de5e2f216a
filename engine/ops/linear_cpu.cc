// Op `linear` on the CPU: the weight is reordered once into the library's blocked layout, one primitive per number of
// rows is made when first asked for and kept. Where there are no bf16 products the packed weight holds fp32 values
// already rounded to bf16, and x is widened.
#include <dnnl.hpp>

#include <exception>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/ops/linear.h"
#include "engine/ops/product.h"

namespace gridquant::ops {
namespace {

using DnnlType = dnnl::memory::data_type;
using Key = std::tuple<int64_t, int64_t, int64_t, bool>;  // rows, stride of x, stride of y, added to y

// The rows for which the library chooses the layout of the weight; any other number runs on the same layout.
constexpr int64_t kPackRows = 512;

struct Prepared {
  dnnl::matmul primitive;
  dnnl::memory::desc x, y, scratchpad;
};

}  // namespace

struct LinearWeight::State {
  Compute compute = Compute::kF32;
  bool widened = false;
  int64_t out = 0;
  int64_t in = 0;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  tensor::Buffer storage;  // of `packed`
  dnnl::memory packed;

  absl::Mutex mutex;
  absl::flat_hash_map<Key, std::shared_ptr<const Prepared>> prepared ABSL_GUARDED_BY(mutex);
  std::vector<std::unique_ptr<Workspace>> idle ABSL_GUARDED_BY(mutex);  // one per thread that was ever inside at once

  DnnlType operand_type() const { return compute == Compute::kBF16 && !widened ? DnnlType::bf16 : DnnlType::f32; }
  Prepared prepare(const Key& key, bool any_layout, dnnl::memory::desc* weight) const;
  std::shared_ptr<const Prepared> prepared_for(const Key& key);
  std::unique_ptr<Workspace> take_workspace();
  void give_back(std::unique_ptr<Workspace> workspace);
  template <typename T>
  void pack(tensor::Matrix<const T> w);
  void run(const Prepared& p, const Operand& x, tensor::Matrix<float> y, Workspace& workspace) const;
};

Prepared LinearWeight::State::prepare(const Key& key, bool any_layout, dnnl::memory::desc* weight) const {
  const auto& [rows, x_stride, y_stride, added] = key;
  Prepared p;
  p.x = {{rows, in}, operand_type(), dnnl::memory::dims{x_stride, 1}};
  p.y = {{rows, out}, DnnlType::f32, dnnl::memory::dims{y_stride, 1}};
  if (any_layout) *weight = {{in, out}, operand_type(), dnnl::memory::format_tag::any};
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (added) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul::primitive_desc description({p.x, *weight, p.y}, attributes, engine);
  if (any_layout) *weight = description.weights_desc();
  p.primitive = dnnl::matmul(description);
  p.scratchpad = description.scratchpad_desc();
  return p;
}

std::shared_ptr<const Prepared> LinearWeight::State::prepared_for(const Key& key) {
  absl::MutexLock lock(&mutex);
  std::shared_ptr<const Prepared>& found = prepared[key];
  if (found == nullptr) {
    dnnl::memory::desc weight = packed.get_desc();
    found = std::make_shared<const Prepared>(prepare(key, false, &weight));
  }
  return found;
}

std::unique_ptr<Workspace> LinearWeight::State::take_workspace() {
  absl::MutexLock lock(&mutex);
  if (idle.empty()) return std::make_unique<Workspace>();
  std::unique_ptr<Workspace> workspace = std::move(idle.back());
  idle.pop_back();
  return workspace;
}

void LinearWeight::State::give_back(std::unique_ptr<Workspace> workspace) {
  absl::MutexLock lock(&mutex);
  idle.push_back(std::move(workspace));
}

template <typename T>
void LinearWeight::State::pack(tensor::Matrix<const T> w) {
  dnnl::memory::desc layout;
  prepare(Key(kPackRows, in, out, false), true, &layout);
  storage = tensor::Buffer(layout.get_size());
  packed = dnnl::memory(layout, engine, storage.data());
  constexpr DnnlType given = sizeof(T) == 2 ? DnnlType::bf16 : DnnlType::f32;
  // [out, in] row-major is the library's [in, out] with swapped strides.
  const auto view = [&](DnnlType type, const void* data, int64_t stride) {
    return dnnl::memory({{in, out}, type, dnnl::memory::dims{1, stride}}, engine, const_cast<void*>(data));
  };
  dnnl::memory source = view(given, w.data, w.stride);
  tensor::Buffer rounded;
  if (widened) {
    rounded = tensor::Buffer(static_cast<size_t>(out * in) * sizeof(float));
    float* to = reinterpret_cast<float*>(rounded.data());
    for (int64_t r = 0; r < out; ++r) {
      for (int64_t c = 0; c < in; ++c) {
        if constexpr (sizeof(T) == 2) {
          to[r * in + c] = tensor::to_float(w.row(r)[c]);
        } else {
          to[r * in + c] = tensor::to_float(tensor::to_bf16(w.row(r)[c]));
        }
      }
    }
    source = view(DnnlType::f32, rounded.data(), in);
  }
  dnnl::stream stream(engine);
  dnnl::reorder(source, packed).execute(stream, source, packed);
  stream.wait();
}

void LinearWeight::State::run(const Prepared& p, const Operand& x, tensor::Matrix<float> y,
                              Workspace& workspace) const {
  const size_t scratch = (p.scratchpad.get_size() + 63) / 64 * 64;
  const size_t x_count = widened ? static_cast<size_t>((x.rows - 1) * x.stride + x.cols) : 0;
  std::byte* memory = workspace.reserve(scratch + x_count * sizeof(float) + 1);
  const void* data = x.data;
  if (widened) {
    float* wide = reinterpret_cast<float*>(memory + scratch);
    tensor::bf16_to_f32({reinterpret_cast<const tensor::BF16*>(x.data), x_count}, {wide, x_count});
    data = wide;
  }
  dnnl::stream stream(engine);
  p.primitive.execute(stream, {{DNNL_ARG_SRC, dnnl::memory(p.x, engine, const_cast<void*>(data))},
                               {DNNL_ARG_WEIGHTS, packed},
                               {DNNL_ARG_DST, dnnl::memory(p.y, engine, y.data)},
                               {DNNL_ARG_SCRATCHPAD, dnnl::memory(p.scratchpad, engine, memory)}});
  stream.wait();
}

LinearWeight::LinearWeight() = default;
LinearWeight::~LinearWeight() = default;
LinearWeight::LinearWeight(LinearWeight&&) noexcept = default;
LinearWeight& LinearWeight::operator=(LinearWeight&&) noexcept = default;

template <typename T>
StatusOr<LinearWeight> LinearWeight::pack_any(Compute compute, tensor::Matrix<const T> w) {
  if (w.rows <= 0 || w.cols <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("linear: a weight of ", w.rows, " x ", w.cols));
  }
  const SingleThreaded single;
  try {
    auto state = std::make_unique<State>();
    state->compute = compute;
    state->widened = compute == Compute::kBF16 && !library_has_bf16_products();
    state->out = w.rows;
    state->in = w.cols;
    state->pack(w);
    LinearWeight weight;
    weight.state_ = std::move(state);
    return weight;
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("oneDNN cannot pack a ", w.rows, " x ", w.cols, " weight: ", e.what()));
  }
}

StatusOr<LinearWeight> LinearWeight::pack(Compute compute, tensor::Matrix<const float> w) {
  return pack_any(compute, w);
}

StatusOr<LinearWeight> LinearWeight::pack(Compute compute, tensor::Matrix<const tensor::BF16> w) {
  return pack_any(compute, w);
}

Compute LinearWeight::compute() const {
  return state_->compute;
}
int64_t LinearWeight::out() const {
  return state_ == nullptr ? 0 : state_->out;
}
int64_t LinearWeight::in() const {
  return state_ == nullptr ? 0 : state_->in;
}
size_t LinearWeight::bytes() const {
  return state_ == nullptr ? 0 : state_->packed.get_desc().get_size();
}

Status LinearWeight::apply(const Operand& x, tensor::Matrix<float> y, bool added) const {
  if (state_ == nullptr) return absl::FailedPreconditionError("linear: the weight is not set");
  State& s = *state_;
  if (x.compute != s.compute || x.cols != s.in || y.cols != s.out || x.rows != y.rows) {
    return absl::InvalidArgumentError(absl::StrCat("linear: x ", x.rows, " x ", x.cols, " ", device::name_of(x.compute),
                                                   ", W ", s.out, " x ", s.in, " ", device::name_of(s.compute), ", y ",
                                                   y.rows, " x ", y.cols));
  }
  if (x.rows == 0) return absl::OkStatus();
  const SingleThreaded single;
  std::unique_ptr<Workspace> workspace = s.take_workspace();
  Status status;
  try {
    s.run(*s.prepared_for(Key(x.rows, x.stride, y.stride, added)), x, y, *workspace);
  } catch (const std::exception& e) {
    status = absl::InternalError(absl::StrCat("oneDNN: linear ", x.rows, " x ", s.out, " x ", s.in, ": ", e.what()));
  }
  s.give_back(std::move(workspace));
  return status;
}

// On AVX2 the library has no layout of its own for an fp32 weight: every call packs it anew.
int64_t rows_at_full_speed(Compute compute) {
  return compute == Compute::kBF16 && library_has_bf16_products() ? 128 : 512;
}

Status LinearWeight::multiply(const Operand& x, tensor::Matrix<float> y) const {
  return apply(x, y, false);
}

Status LinearWeight::multiply_add(const Operand& x, tensor::Matrix<float> y) const {
  return apply(x, y, true);
}

}  // namespace gridquant::ops
