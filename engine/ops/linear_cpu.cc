// Op `linear` on the CPU: the weight is reordered once into the library's blocked layout, one primitive per number of
// rows is made when first asked for and kept. Where there are no bf16 products the packed weight holds fp32 values
// already rounded to bf16, and x is widened.
//
// The primitive is a matmul where that takes a packed weight, which is from AVX-512 on. On AVX2 a matmul packs the
// weight anew at every call: half of the time for 128 rows of a 2048 x 2048 weight, a tenth for 512. There it is a
// 1 x 1 convolution of an image of one line: as many pixels as rows, `in` channels, channels last. It takes a packed
// weight, any number of channels, and dense x and y only.
#include <dnnl.hpp>

#include <algorithm>
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
  dnnl::primitive primitive;
  dnnl::memory::desc x, y, scratchpad;
};

bool matmul_packs_at_every_call(DnnlType operand_type) {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return operand_type == DnnlType::f32 && (isa == dnnl::cpu_isa::avx2 || isa == dnnl::cpu_isa::avx2_vnni);
}

size_t aligned(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

void copy_rows(const tensor::Matrix<float>& from, const tensor::Matrix<float>& to) {
  for (int64_t r = 0; r < from.rows; ++r) std::copy_n(from.row(r), from.cols, to.row(r));
}

// The same, as fp32.
void copy_floats(const Operand& from, tensor::Matrix<float> to) {
  for (int64_t r = 0; r < from.rows; ++r) {
    const std::span<float> out(to.row(r), static_cast<size_t>(to.cols));
    if (from.compute == Compute::kBF16) {
      tensor::bf16_to_f32({from.bf16().row(r), out.size()}, out);
    } else {
      std::copy_n(from.f32().row(r), from.cols, out.data());
    }
  }
}

}  // namespace

struct LinearWeight::State {
  Compute compute = Compute::kF32;
  bool widened = false;
  bool convolution = false;
  int64_t out = 0;
  int64_t in = 0;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  tensor::Buffer storage;  // of `packed`
  dnnl::memory packed;

  absl::Mutex mutex;
  absl::flat_hash_map<Key, std::shared_ptr<const Prepared>> prepared ABSL_GUARDED_BY(mutex);
  std::vector<std::unique_ptr<Workspace>> idle ABSL_GUARDED_BY(mutex);  // one per thread that was ever inside at once

  DnnlType operand_type() const { return compute == Compute::kBF16 && !widened ? DnnlType::bf16 : DnnlType::f32; }
  bool copies(const Operand& x) const { return widened || (convolution && x.stride != in); }
  bool copies(const tensor::Matrix<float>& y) const { return convolution && y.stride != out; }
  // [out, in] row-major, as the primitive sees a weight.
  dnnl::memory::desc weight_view(DnnlType type, int64_t stride) const;
  dnnl::memory::desc any_layout() const;
  Prepared prepare(const Key& key, dnnl::memory::desc* weight) const;
  std::shared_ptr<const Prepared> prepared_for(const Key& key);
  std::unique_ptr<Workspace> take_workspace();
  void give_back(std::unique_ptr<Workspace> workspace);
  template <typename T>
  void pack(tensor::Matrix<const T> w);
  void run(const Operand& x, tensor::Matrix<float> y, bool added, Workspace& workspace);
};

dnnl::memory::desc LinearWeight::State::weight_view(DnnlType type, int64_t stride) const {
  if (convolution) return {{out, in, 1, 1}, type, dnnl::memory::dims{stride, 1, 1, 1}};
  return {{in, out}, type, dnnl::memory::dims{1, stride}};
}

dnnl::memory::desc LinearWeight::State::any_layout() const {
  constexpr auto any = dnnl::memory::format_tag::any;
  if (convolution) return {{out, in, 1, 1}, DnnlType::f32, any};
  return {{in, out}, operand_type(), any};
}

// Of a weight in any layout, `*weight` becomes the layout that the library chose.
Prepared LinearWeight::State::prepare(const Key& key, dnnl::memory::desc* weight) const {
  const auto& [rows, x_stride, y_stride, added] = key;
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (added) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const auto finish = [&](const auto& description, dnnl::primitive primitive) {
    *weight = description.weights_desc();
    return Prepared{std::move(primitive), description.src_desc(), description.dst_desc(),
                    description.scratchpad_desc()};
  };
  if (convolution) {
    constexpr auto channels_last = dnnl::memory::format_tag::nhwc;
    const dnnl::convolution_forward::desc convolve(
        dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
        {{1, in, 1, rows}, DnnlType::f32, channels_last}, *weight, {{1, out, 1, rows}, DnnlType::f32, channels_last},
        {1, 1}, {0, 0}, {0, 0});
    const dnnl::convolution_forward::primitive_desc description(convolve, attributes, engine);
    return finish(description, dnnl::convolution_forward(description));
  }
  const dnnl::memory::desc x{{rows, in}, operand_type(), dnnl::memory::dims{x_stride, 1}};
  const dnnl::memory::desc y{{rows, out}, DnnlType::f32, dnnl::memory::dims{y_stride, 1}};
  const dnnl::matmul::primitive_desc description({x, *weight, y}, attributes, engine);
  return finish(description, dnnl::matmul(description));
}

std::shared_ptr<const Prepared> LinearWeight::State::prepared_for(const Key& key) {
  absl::MutexLock lock(&mutex);
  std::shared_ptr<const Prepared>& found = prepared[key];
  if (found == nullptr) {
    dnnl::memory::desc weight = packed.get_desc();
    found = std::make_shared<const Prepared>(prepare(key, &weight));
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
  dnnl::memory::desc layout = any_layout();
  prepare(Key(kPackRows, in, out, false), &layout);
  storage = tensor::Buffer(layout.get_size());
  packed = dnnl::memory(layout, engine, storage.data());
  constexpr DnnlType given = sizeof(T) == 2 ? DnnlType::bf16 : DnnlType::f32;
  const auto view = [&](DnnlType type, const void* data, int64_t stride) {
    return dnnl::memory(weight_view(type, stride), engine, const_cast<void*>(data));
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

void LinearWeight::State::run(const Operand& x, tensor::Matrix<float> y, bool added, Workspace& workspace) {
  const bool copy_x = copies(x);
  const bool copy_y = copies(y);
  const auto prepared = prepared_for(Key(x.rows, copy_x ? in : x.stride, copy_y ? out : y.stride, added));
  const size_t scratch = aligned(prepared->scratchpad.get_size());
  const size_t x_bytes = copy_x ? aligned(static_cast<size_t>(x.rows * in) * sizeof(float)) : 0;
  const size_t y_bytes = copy_y ? static_cast<size_t>(x.rows * out) * sizeof(float) : 0;
  std::byte* memory = workspace.reserve(scratch + x_bytes + y_bytes + 1);
  void* from = x.data;
  tensor::Matrix<float> to = y;
  if (copy_x) {
    from = memory + scratch;
    copy_floats(x, {static_cast<float*>(from), x.rows, in, in});
  }
  if (copy_y) {
    to = {reinterpret_cast<float*>(memory + scratch + x_bytes), y.rows, out, out};
    if (added) copy_rows(y, to);
  }
  dnnl::stream stream(engine);
  prepared->primitive.execute(stream, {{DNNL_ARG_SRC, dnnl::memory(prepared->x, engine, from)},
                                       {DNNL_ARG_WEIGHTS, packed},
                                       {DNNL_ARG_DST, dnnl::memory(prepared->y, engine, to.data)},
                                       {DNNL_ARG_SCRATCHPAD, dnnl::memory(prepared->scratchpad, engine, memory)}});
  stream.wait();
  if (copy_y) copy_rows(to, y);
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
    state->convolution = matmul_packs_at_every_call(state->operand_type());
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
    s.run(x, y, added, *workspace);
  } catch (const std::exception& e) {
    status = absl::InternalError(absl::StrCat("oneDNN: linear ", x.rows, " x ", s.out, " x ", s.in, ": ", e.what()));
  }
  s.give_back(std::move(workspace));
  return status;
}

Status LinearWeight::multiply(const Operand& x, tensor::Matrix<float> y) const {
  return apply(x, y, false);
}

Status LinearWeight::multiply_add(const Operand& x, tensor::Matrix<float> y) const {
  return apply(x, y, true);
}

}  // namespace gridquant::ops
