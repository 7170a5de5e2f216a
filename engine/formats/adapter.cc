#include "engine/formats/adapter.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/json.h"

namespace gridquant::formats {
namespace {

using json = nlohmann::ordered_json;  // of alpha patterns the first that fits counts
using tensor::DType;
using tensor::Tensor;

constexpr char kAdapterConfig[] = "adapter_config.json";
constexpr char kWeightsFile[] = "adapter_model.safetensors";
constexpr char kModelPrefix[] = "base_model.model.";
constexpr char kDown[] = ".lora_A.weight";
constexpr char kUp[] = ".lora_B.weight";
constexpr char kWeight[] = ".weight";
constexpr size_t kMaxListed = 10;

// What the configuration says about strength.
struct Strength {
  double alpha = 8;
  bool root = false;                                    // alpha / sqrt(r)
  std::vector<std::pair<std::string, double>> special;  // alpha of the modules whose name ends so

  float of(const std::string& module, int64_t rank) const {
    double own = alpha;
    for (const auto& [name, value] : special) {
      const bool ends = module == name || module.ends_with("." + name);
      if (ends) {
        own = value;
        break;
      }
    }
    const double r = static_cast<double>(rank);
    return static_cast<float>(own / (root ? std::sqrt(r) : r));
  }
};

class ConfigReader {
 public:
  ConfigReader(const json& config, std::string path) : config_(config), path_(std::move(path)) {}

  StatusOr<Strength> read() {
    const std::string method = text("peft_type");
    if (method != "LORA") refuse(absl::StrCat("peft_type is \"", method, "\"; only LORA is merged"));
    for (const char* name : {"use_dora", "lora_bias", "trainable_token_indices", "alora_invocation_tokens",
                             "use_qalora", "megatron_config", "corda_config", "arrow_config", "layer_replication",
                             "target_parameters", "use_bdlora", "velora_config"}) {
      if (is_set(name)) refuse(absl::StrCat("\"", name, "\" is set, which is not merged"));
    }
    const std::string start = text("init_lora_weights");
    for (const char* changing : {"pissa", "olora", "corda", "loftq", "lora_ga"}) {
      if (start.starts_with(changing)) {
        refuse(absl::StrCat("init_lora_weights \"", start,
                            "\" changes the base's weights too; convert the adapter to "
                            "plain LoRA first"));
      }
    }
    Strength strength;
    strength.root = is_set("use_rslora");
    strength.alpha = number(config_, "lora_alpha");
    if (const auto it = config_.find("alpha_pattern"); it != config_.end() && it->is_object()) {
      for (const auto& [name, value] : it->items()) {
        if (name.find_first_of("^$*+?()[]{}|\\") != std::string::npos) {
          refuse(absl::StrCat("alpha_pattern \"", name, "\" is a regular expression; only module names are read"));
        }
        strength.special.emplace_back(name, number(*it, name));
      }
    }
    GQ_RETURN_IF_ERROR(status_);
    return strength;
  }

 private:
  bool is_set(const std::string& name) const {
    const auto it = config_.find(name);
    if (it == config_.end() || it->is_null()) return false;
    if (it->is_boolean()) return it->get<bool>();
    return !((it->is_array() || it->is_object()) && it->empty());
  }
  std::string text(const std::string& name) const {
    const auto it = config_.find(name);
    return it != config_.end() && it->is_string() ? it->get<std::string>() : "";
  }
  double number(const json& object, const std::string& name) {
    const auto it = object.find(name);
    const bool fits = it != object.end() && it->is_number() && std::abs(it->get<double>()) < 1e30;
    if (fits) return it->get<double>();
    status_.Update(absl::FailedPreconditionError(absl::StrCat(path_, ": \"", name, "\" is not a number")));
    return 0;
  }
  void refuse(const std::string& what) { status_.Update(absl::UnimplementedError(absl::StrCat(path_, ": ", what))); }

  const json& config_;
  std::string path_;
  Status status_;
};

// What becomes of one tensor of the base.
struct Change {
  std::string down, up;  // tensors of the adapter: [r, in] and [out, r]
  std::string whole;     // or the tensor that takes its place
  float scale = 0;
};

class MergedTensors : public TensorDecorator {
 public:
  MergedTensors(std::shared_ptr<const TensorSource> base, std::shared_ptr<const TensorSource> adapter,
                std::map<std::string, Change> changes)
      : TensorDecorator(std::move(base)), adapter_(std::move(adapter)), changes_(std::move(changes)) {}

  StatusOr<Tensor> read(const std::string& name) const override {
    if (!changes_.contains(name)) return inner().read(name);
    const TensorEntry& entry = *find(name);
    GQ_ASSIGN_OR_RETURN(Tensor merged, read_f32(name, entry.shape));
    if (entry.dtype == DType::kF32) return merged;
    Tensor kept(entry.dtype, entry.shape);
    if (entry.dtype == DType::kBF16) {
      tensor::f32_to_bf16(merged.as<float>(), kept.as<tensor::BF16>());
    } else if (entry.dtype == DType::kF16) {
      tensor::f32_to_f16(merged.as<float>(), kept.as<tensor::F16>());
    } else {
      return absl::FailedPreconditionError(absl::StrCat(path(), ": tensor \"", name, "\" is ",
                                                        std::string(tensor::name_of(entry.dtype)),
                                                        "; an adapter is merged into F32, F16 or BF16"));
    }
    return kept;
  }

  StatusOr<Tensor> read_f32(const std::string& name, const tensor::Shape& shape) const override {
    const auto it = changes_.find(name);
    if (it == changes_.end()) return inner().read_f32(name, shape);
    const Change& change = it->second;
    if (!change.whole.empty()) return adapter_->read_f32(change.whole, shape);
    GQ_ASSIGN_OR_RETURN(Tensor merged, inner().read_f32(name, shape));
    const int64_t rank = adapter_->find(change.down)->shape[0];
    GQ_ASSIGN_OR_RETURN(const Tensor down, adapter_->read_f32(change.down, {rank, shape[1]}));
    GQ_ASSIGN_OR_RETURN(const Tensor up, adapter_->read_f32(change.up, {shape[0], rank}));
    merge(up.matrix<float>(), down.matrix<float>(), change.scale, merged.matrix<float>());
    return merged;
  }

 private:
  static void merge(tensor::Matrix<const float> up, tensor::Matrix<const float> down, float scale,
                    tensor::Matrix<float> weight) {
    std::vector<float> product(static_cast<size_t>(weight.cols));
    for (int64_t i = 0; i < weight.rows; ++i) {
      std::fill(product.begin(), product.end(), 0.0f);
      for (int64_t k = 0; k < down.rows; ++k) {
        const float factor = up.row(i)[k];
        const float* from = down.row(k);
        for (int64_t j = 0; j < weight.cols; ++j) product[j] += factor * from[j];
      }
      float* to = weight.row(i);
      for (int64_t j = 0; j < weight.cols; ++j) to[j] += scale * product[j];
    }
  }

  std::shared_ptr<const TensorSource> adapter_;
  std::map<std::string, Change> changes_;
};

// Tensors of the adapter against those of the base.
class Matcher {
 public:
  Matcher(const TensorSource& base, const TensorSource& adapter, const Strength& strength)
      : base_(base), adapter_(adapter), strength_(strength) {}

  StatusOr<std::map<std::string, Change>> match() {
    for (const std::string& name : adapter_.names()) {
      if (!name.starts_with(kModelPrefix)) {
        problem(absl::StrCat(name, " does not begin with ", kModelPrefix));
      } else if (name.ends_with(kDown)) {
        low_rank(name);
      } else if (name.ends_with(kUp)) {
        const std::string other = absl::StrCat(name.substr(0, name.size() - std::string_view(kUp).size()), kDown);
        if (!adapter_.contains(other)) problem(absl::StrCat(name, " is there without ", other));
      } else if (name.find(".lora_") != std::string::npos) {
        problem(absl::StrCat(name, " is of a kind that is not merged"));
      } else {
        whole(name);
      }
    }
    if (changes_.empty() && problems_.empty()) problem("it holds no tensors");
    if (problems_.empty()) return std::move(changes_);
    const size_t listed = std::min(problems_.size(), kMaxListed);
    std::string message =
        absl::StrCat(adapter_.path(), ": this adapter does not fit ", base_.path(), ": ",
                     absl::StrJoin(problems_.begin(), problems_.begin() + static_cast<std::ptrdiff_t>(listed), "; "));
    if (listed < problems_.size()) absl::StrAppend(&message, "; and ", problems_.size() - listed, " more");
    return absl::FailedPreconditionError(message);
  }

 private:
  void problem(const std::string& what) { problems_.push_back(what); }

  void low_rank(const std::string& name) {
    const std::string stem = name.substr(0, name.size() - std::string_view(kDown).size());
    const std::string module = stem.substr(std::string_view(kModelPrefix).size());
    const std::string target = absl::StrCat(module, kWeight);
    const std::string up_name = absl::StrCat(stem, kUp);
    const TensorEntry* weight = base_.find(target);
    const TensorEntry* down = adapter_.find(name);
    const TensorEntry* up = adapter_.find(up_name);
    if (weight == nullptr) return problem(absl::StrCat("the model has no ", target));
    if (up == nullptr) return problem(absl::StrCat(name, " is there without ", up_name));
    if (weight->shape.size() != 2) return problem(absl::StrCat(target, " is no matrix"));
    const bool fits = down->shape.size() == 2 && down->shape[0] > 0 && down->shape[1] == weight->shape[1] &&
                      up->shape == tensor::Shape{weight->shape[0], down->shape[0]};
    if (!fits) {
      return problem(absl::StrCat("B ", tensor::to_string(up->shape), " times A ", tensor::to_string(down->shape),
                                  " is not of the shape ", tensor::to_string(weight->shape), " of ", target));
    }
    changes_[target] = {name, up_name, "", strength_.of(module, down->shape[0])};
  }

  void whole(const std::string& name) {
    std::string target = name.substr(std::string_view(kModelPrefix).size());
    for (const std::string_view wrapper : {".base_layer.", ".modules_to_save."}) {
      const size_t at = target.find(wrapper);
      if (at != std::string::npos) target.replace(at, wrapper.size(), ".");
    }
    const TensorEntry* replaced = base_.find(target);
    if (replaced == nullptr) return problem(absl::StrCat("the model has no ", target));
    if (replaced->shape != adapter_.find(name)->shape) {
      return problem(absl::StrCat(target, " has the shape ", tensor::to_string(replaced->shape), " in the model, ",
                                  tensor::to_string(adapter_.find(name)->shape), " in the adapter"));
    }
    changes_[target].whole = name;
  }

  const TensorSource& base_;
  const TensorSource& adapter_;
  const Strength& strength_;
  std::map<std::string, Change> changes_;
  std::vector<std::string> problems_;
};

}  // namespace

StatusOr<Source> apply_adapter(base::Env& env, Source base, const std::string& folder) {
  const std::string config_path = base::join_path(folder, kAdapterConfig);
  if (!env.exists(config_path)) {
    return absl::NotFoundError(absl::StrCat(folder, ": there is no ", kAdapterConfig, ": this is not a PEFT adapter"));
  }
  if (!env.exists(base::join_path(folder, kWeightsFile))) {
    return absl::NotFoundError(absl::StrCat(folder, ": there is no ", kWeightsFile,
                                            " (adapter_model.bin is not read: save the adapter again as safetensors)"));
  }
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, config_path));
  GQ_ASSIGN_OR_RETURN(const json config, parse_json_object<json>(text, config_path, JsonLimits{}));
  GQ_ASSIGN_OR_RETURN(const Strength strength, ConfigReader(config, config_path).read());
  GQ_ASSIGN_OR_RETURN(Checkpoint opened, Checkpoint::open_shards(env, folder, {kWeightsFile}));
  const auto adapter = std::make_shared<const Checkpoint>(std::move(opened));
  GQ_ASSIGN_OR_RETURN(auto changes, Matcher(*base.tensors, *adapter, strength).match());
  base.tensors = std::make_shared<MergedTensors>(std::move(base.tensors), adapter, std::move(changes));
  base.files.push_back(config_path);
  base.files.push_back(base::join_path(folder, kWeightsFile));
  return base;
}

}  // namespace gridquant::formats
