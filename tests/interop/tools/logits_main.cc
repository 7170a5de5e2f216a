// gq-logits MODEL IDS_FILE OUT_F32_FILE fp32|bf16: the logits of our own forward pass, for tests/interop/logits.py
// to compare with another implementation's. IDS_FILE: token ids of one sequence, whitespace between them. OUT_F32_FILE:
// raw fp32, [tokens, vocabulary]. A test tool, not part of the product.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/device/cpu.h"
#include "engine/device/thread_pool.h"
#include "engine/formats/source.h"
#include "engine/model/architecture.h"

namespace gridquant {
namespace {

using tensor::Tensor;

struct Arguments {
  std::string model, ids, out, compute;
};

StatusOr<Tensor> load(const formats::TensorSource& tensors, const model::TensorSpec& spec) {
  return tensors.read_f32(spec.name, spec.shape);
}

StatusOr<std::unique_ptr<model::Block>> load_block(const formats::TensorSource& tensors,
                                                   const model::ModelConfig& config, int64_t index,
                                                   ops::Compute compute) {
  const model::Architecture& architecture = model::architecture_of(config);
  const std::vector<model::TensorSpec> specs = architecture.block_tensors(config, index);
  std::vector<Tensor> others;
  for (const model::TensorSpec& spec : specs) {
    if (spec.role == model::TensorRole::kLinear) continue;
    GQ_ASSIGN_OR_RETURN(Tensor tensor, load(tensors, spec));
    others.push_back(std::move(tensor));
  }
  GQ_ASSIGN_OR_RETURN(auto block, architecture.make_block(config, index, compute, std::move(others)));
  for (const model::TensorSpec& spec : specs) {
    if (spec.role != model::TensorRole::kLinear) continue;
    GQ_ASSIGN_OR_RETURN(const Tensor tensor, load(tensors, spec));
    GQ_RETURN_IF_ERROR(block->set_weight(spec.name, tensor.matrix<float>()));
  }
  return block;
}

Status run_block(const model::ModelConfig& config, const model::Block& block, int64_t index,
                 const model::SequenceView& sequence, ops::Compute compute) {
  const auto scratch = block.make_scratch(sequence.hidden.rows);
  const auto sites = model::architecture_of(config).sites(config, index);
  const auto input_of = [&](const model::SiteSpec& site) {
    return ops::OperandBuffer(compute, sequence.hidden.rows * site.rows_per_token, site.width);
  };
  ops::OperandBuffer x = input_of(sites[0]);
  GQ_RETURN_IF_ERROR(block.begin(sequence, x.view(), *scratch));
  for (size_t s = 0; s < sites.size(); ++s) {
    ops::OperandBuffer next;
    if (s + 1 < sites.size()) next = input_of(sites[s + 1]);
    GQ_RETURN_IF_ERROR(block.advance(static_cast<int>(s), sequence, x.view(), next.view(), *scratch));
    x = std::move(next);
  }
  return absl::OkStatus();
}

StatusOr<Tensor> compute_logits(const Arguments& arguments, const std::vector<int32_t>& ids) {
  GQ_ASSIGN_OR_RETURN(const formats::Source source, formats::open_source(base::posix_env(), arguments.model));
  const formats::TensorSource& tensors = *source.tensors;
  GQ_ASSIGN_OR_RETURN(const std::string text, source.texts->read("config.json"));
  GQ_ASSIGN_OR_RETURN(const model::ModelConfig config,
                      model::parse_model_config(text, source.texts->path_of("config.json")));
  GQ_ASSIGN_OR_RETURN(const ops::Compute compute, device::resolve_compute(arguments.compute, device::detect_cpu()));
  const model::Architecture& architecture = model::architecture_of(config);
  const std::vector<model::TensorSpec> outer = architecture.outer_tensors(config);  // embedding, norm, maybe lm_head
  GQ_ASSIGN_OR_RETURN(const Tensor embedding, load(tensors, outer[0]));
  GQ_ASSIGN_OR_RETURN(const Tensor norm, load(tensors, outer[1]));

  const auto tokens = static_cast<int64_t>(ids.size());
  Tensor hidden(tensor::DType::kF32, {tokens, config.hidden_size});
  model::Routing routing;
  const model::SequenceView sequence{hidden.matrix<float>(), &routing};
  GQ_RETURN_IF_ERROR(architecture.embed(config, embedding, ids, sequence.hidden));
  for (int64_t b = 0; b < config.block_count; ++b) {
    GQ_ASSIGN_OR_RETURN(const auto block, load_block(tensors, config, b, compute));
    GQ_RETURN_IF_ERROR(run_block(config, *block, b, sequence, compute));
  }
  const ops::OperandBuffer last(compute, tokens, config.hidden_size);
  GQ_RETURN_IF_ERROR(architecture.final_norm(config, norm, sequence.hidden, last.view()));
  Tensor head;
  if (outer.size() > 2) {
    GQ_ASSIGN_OR_RETURN(head, load(tensors, outer[2]));
  }
  const tensor::Matrix<const float> weight = (outer.size() > 2 ? head : embedding).matrix<float>();
  GQ_ASSIGN_OR_RETURN(const ops::LinearWeight packed, ops::LinearWeight::pack(compute, weight));
  Tensor logits(tensor::DType::kF32, {tokens, config.vocab_size});
  GQ_RETURN_IF_ERROR(packed.multiply(last.view(), logits.matrix<float>()));
  GQ_RETURN_IF_ERROR(architecture.finish_logits(config, logits.matrix<float>()));
  return logits;
}

Status run(const Arguments& arguments) {
  std::ifstream file(arguments.ids);
  const std::vector<int32_t> ids{std::istream_iterator<int32_t>(file), std::istream_iterator<int32_t>()};
  if (ids.empty()) return absl::InvalidArgumentError(arguments.ids + ": no token ids");
  GQ_ASSIGN_OR_RETURN(const Tensor logits, compute_logits(arguments, ids));
  GQ_ASSIGN_OR_RETURN(const auto out, base::posix_env().create(arguments.out));
  GQ_RETURN_IF_ERROR(out->append(logits.raw()));
  return out->close();
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: gq-logits MODEL IDS_FILE OUT_F32_FILE fp32|bf16\n");
    return 2;
  }
  const gridquant::device::ThreadPool pool(1);  // for its promise about library threads
  const gridquant::Status status = gridquant::run({argv[1], argv[2], argv[3], argv[4]});
  if (!status.ok()) std::fprintf(stderr, "gq-logits: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : static_cast<int>(gridquant::exit_code_for(status));
}
