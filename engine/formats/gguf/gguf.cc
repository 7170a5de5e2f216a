#include "engine/formats/gguf/gguf.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/gguf/config.h"
#include "engine/formats/gguf/file.h"
#include "engine/formats/gguf/names.h"
#include "engine/formats/gguf/tokenizer.h"

namespace gridquant::formats {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr char kArchitecture[] = "general.architecture";
constexpr char kEmbedding[] = "token_embd.weight";
constexpr char kFrequencies[] = "rope_freqs.weight";

DType kept_as(BlockType type) {
  if (type == BlockType::kF32) return DType::kF32;
  return type == BlockType::kBF16 ? DType::kBF16 : DType::kF16;
}

// One tensor of the model, and where and how the file holds it.
struct Held {
  std::string gguf_name;
  TensorEntry entry;     // as it is kept
  int64_t heads = 0;     // interleaved rows of so many heads; 0: rows are in order
  bool shifted = false;  // the file holds 1 + w
};

class GgufTensors : public TensorSource {
 public:
  GgufTensors(std::shared_ptr<const GgufFile> file, std::map<std::string, Held> held)
      : file_(std::move(file)), held_(std::move(held)) {}

  const std::string& path() const override { return file_->path(); }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, held] : held_) names.push_back(name);
    return names;
  }
  const TensorEntry* find(const std::string& name) const override {
    const auto it = held_.find(name);
    return it == held_.end() ? nullptr : &it->second.entry;
  }

  StatusOr<Tensor> read(const std::string& name) const override {
    const TensorEntry* entry = find(name);
    if (entry == nullptr) return absl::NotFoundError(absl::StrCat(path(), ": the model has no tensor \"", name, "\""));
    GQ_ASSIGN_OR_RETURN(Tensor values, read_f32(name, entry->shape));
    if (entry->dtype == DType::kF32) return values;
    Tensor kept(entry->dtype, entry->shape);
    if (entry->dtype == DType::kBF16) {
      tensor::f32_to_bf16(values.as<float>(), kept.as<tensor::BF16>());
      return kept;
    }
    tensor::f32_to_f16(values.as<float>(), kept.as<tensor::F16>());
    for (const tensor::F16 x : kept.as<tensor::F16>()) {
      if ((x.bits & 0x7c00) == 0x7c00) return wrong(name, "has values that do not fit fp16: the file is damaged");
    }
    return kept;
  }

  StatusOr<Tensor> read_f32(const std::string& name, const tensor::Shape& shape) const override {
    const auto it = held_.find(name);
    if (it == held_.end()) {
      return absl::NotFoundError(absl::StrCat(path(), ": the model has no tensor \"", name, "\""));
    }
    const Held& held = it->second;
    if (held.entry.shape != shape) {
      return wrong(name, absl::StrCat("has the shape ", tensor::to_string(held.entry.shape),
                                      "; the model's configuration calls for ", tensor::to_string(shape)));
    }
    GQ_ASSIGN_OR_RETURN(const tensor::Buffer raw, file_->read(held.gguf_name));
    Tensor values(DType::kF32, shape);
    decode(held, raw, values);
    const std::span<float> all = values.as<float>();
    const auto bad = std::find_if(all.begin(), all.end(), [](float x) { return !std::isfinite(x); });
    if (bad != all.end()) {
      return wrong(name, absl::StrCat("element ", bad - all.begin(),
                                      " is not a finite number; a weight with NaN or infinity cannot be quantized: get "
                                      "the file again, or repair the model"));
    }
    return values;
  }

 private:
  Status wrong(const std::string& name, const std::string& what) const {
    return absl::FailedPreconditionError(
        absl::StrCat(path(), ": tensor \"", name, "\" (", held_.at(name).gguf_name, ") ", what));
  }

  // Row by row, each to its place.
  void decode(const Held& held, const tensor::Buffer& raw, Tensor& values) const {
    const BlockType type = file_->find(held.gguf_name)->type;
    const int64_t rows = held.heads > 0 ? held.entry.shape[0] : 1;
    const int64_t width = values.count() / rows;
    const size_t row_bytes = raw.size() / static_cast<size_t>(rows);
    float* to = values.as<float>().data();
    const int64_t head_rows = held.heads > 0 ? rows / held.heads : 1;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t in_head = r % head_rows;
      const int64_t place = r - in_head + (in_head % 2) * (head_rows / 2) + in_head / 2;
      dequantize_blocks(type, {raw.data() + static_cast<size_t>(r) * row_bytes, row_bytes},
                        {to + place * width, static_cast<size_t>(width)});
    }
    if (!held.shifted) return;
    for (float& x : values.as<float>()) x -= 1.0f;
  }

  std::shared_ptr<const GgufFile> file_;
  std::map<std::string, Held> held_;
};

class GgufTexts : public TextFiles {
 public:
  GgufTexts(std::shared_ptr<const GgufFile> file, GgufFacts facts) : file_(std::move(file)), facts_(std::move(facts)) {}

  StatusOr<std::vector<std::string>> names() const override {
    if (!file_->values().contains("tokenizer.ggml.model")) {
      return std::vector<std::string>{"config.json", "generation_config.json"};
    }
    return std::vector<std::string>{"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"};
  }
  StatusOr<std::string> read(const std::string& name) const override {
    const auto& values = file_->values();
    if (name == "config.json") return gguf_config_json(values, facts_, file_->path());
    if (name == "generation_config.json") return gguf_generation_config_json(values, file_->path());
    if (name == "tokenizer.json") return gguf_tokenizer_json(values, file_->path());
    if (name == "tokenizer_config.json") return gguf_tokenizer_config_json(values, file_->path());
    return absl::NotFoundError(absl::StrCat(path_of(name), ": a GGUF file has no such text"));
  }
  std::string path_of(const std::string& name) const override {
    return absl::StrCat(file_->path(), " (as ", name, ")");
  }

 private:
  std::shared_ptr<const GgufFile> file_;
  GgufFacts facts_;
};

// The type that most of the elements are kept in says what the model should run in. Models of block types were nearly
// all trained in bf16, whose range their activations may need.
std::string running_dtype(const GgufFile& file) {
  std::map<BlockType, int64_t> elements;
  for (const std::string& name : file.names()) {
    const GgufTensor& tensor = *file.find(name);
    elements[tensor.type] += tensor::element_count(tensor.shape);
  }
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != elements.end() && most->first == BlockType::kF32) return "float32";
  return most != elements.end() && most->first == BlockType::kF16 ? "float16" : "bfloat16";
}

StatusOr<GgufFacts> facts_of(const GgufFile& file) {
  GgufFacts facts;
  const GgufTensor* embedding = file.find(kEmbedding);
  if (embedding == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(file.path(), ": it has no tensor \"", kEmbedding,
                                                      "\"; this is not a language model with weights"));
  }
  facts.vocab_size = embedding->shape.front();
  facts.has_output = file.find("output.weight") != nullptr;
  facts.has_qkv_bias = file.find("blk.0.attn_q.bias") != nullptr;
  facts.dtype = running_dtype(file);
  if (const GgufTensor* frequencies = file.find(kFrequencies)) {
    GQ_ASSIGN_OR_RETURN(const tensor::Buffer raw, file.read(kFrequencies));
    std::vector<float> divisors(static_cast<size_t>(tensor::element_count(frequencies->shape)));
    dequantize_blocks(frequencies->type, {raw.data(), raw.size()}, divisors);
    facts.rope_freqs.assign(divisors.begin(), divisors.end());
  }
  return facts;
}

using HeldTensors = std::map<std::string, Held>;

StatusOr<HeldTensors> hold(const GgufFile& file) {
  GgufKeys keys(file.values(), file.path());
  const std::string architecture = keys.text(kArchitecture, "");
  const int64_t heads = keys.integer(architecture + ".attention.head_count", 0);
  const int64_t kv_heads = keys.integer(architecture + ".attention.head_count_kv", heads);
  GQ_RETURN_IF_ERROR(keys.status());
  HeldTensors held;
  for (const std::string& gguf_name : file.names()) {
    const std::string name = transformers_name(architecture, gguf_name);
    if (name.empty() && gguf_name != kFrequencies) {
      return absl::UnimplementedError(absl::StrCat(file.path(), ": the tensor \"", gguf_name,
                                                   "\" has no place in a model of architecture \"", architecture,
                                                   "\" as gridquant knows it"));
    }
    if (name.empty()) continue;
    const GgufTensor& tensor = *file.find(gguf_name);
    Held& to = held[name];
    to.gguf_name = gguf_name;
    to.entry = {kept_as(tensor.type), tensor.shape, 0, 0};
    to.entry.bytes = static_cast<uint64_t>(tensor::element_count(tensor.shape)) * tensor::size_of(to.entry.dtype);
    to.shifted = has_shifted_values(architecture, gguf_name);
    if (!has_interleaved_rows(architecture, gguf_name)) continue;
    to.heads = gguf_name.find(".attn_q.") != std::string::npos ? heads : kv_heads;
    if (to.heads < 1 || tensor.shape.front() % (2 * to.heads) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(file.path(), ": tensor \"", gguf_name, "\" has ",
                                                        tensor.shape.front(), " rows, which are not ", to.heads,
                                                        " heads of an even size"));
    }
  }
  return held;
}

}  // namespace

StatusOr<Source> open_gguf(base::Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(GgufFile opened, GgufFile::open(env, path));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  Source source;
  source.path = path;
  source.files = file->files();
  GQ_ASSIGN_OR_RETURN(GgufFacts facts, facts_of(*file));
  // Refuses a foreign architecture before its tensors' names can be a puzzle.
  GQ_RETURN_IF_ERROR(gguf_config_json(file->values(), facts, path).status());
  GQ_ASSIGN_OR_RETURN(HeldTensors held, hold(*file));
  source.tensors = std::make_shared<GgufTensors>(file, std::move(held));
  source.texts = std::make_shared<GgufTexts>(file, std::move(facts));
  return source;
}

StatusOr<std::string> find_gguf(base::Env& env, const std::string& folder) {
  GQ_ASSIGN_OR_RETURN(const auto names, env.list(folder));
  std::vector<std::string> found;
  for (const std::string& name : names) {
    const bool later_part = name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
    if (name.ends_with(".gguf") && !later_part) found.push_back(name);
  }
  if (found.empty()) return std::string();
  if (found.size() > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(folder, ": there are several GGUF models: name one of ", absl::StrJoin(found, ", ")));
  }
  return base::join_path(folder, found.front());
}

}  // namespace gridquant::formats
