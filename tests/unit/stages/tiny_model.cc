#include "tests/unit/stages/tiny_model.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "stages/catalog/catalog.h"
#include "stages/shard.h"

namespace gridquant::stages::testing {
namespace {

using nlohmann::json;

// GPT-2's map from bytes to printable characters, as UTF-8.
std::string byte_character(int byte) {
  static const std::vector<int> code_points = [] {
    std::vector<int> map(256);
    int next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
      map[b] = printable ? b : next++;
    }
    return map;
  }();
  const int c = code_points[byte];
  if (c < 0x80) return std::string(1, static_cast<char>(c));
  return {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3F))};
}

std::string tokenizer_json() {
  json vocab = json::object();
  for (int b = 0; b < 256; ++b) vocab[byte_character(b)] = b;
  const json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", json::array()},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", level},
                     {"post_processor", nullptr},
                     {"decoder", level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", false},
                       {"vocab", vocab},
                       {"merges", json::array()}}}};
  return file.dump();
}

tensor::Tensor random_tensor(tensor::DType dtype, tensor::Shape shape, float spread, float center, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal(center, spread);
  tensor::Tensor t(dtype, std::move(shape));
  for (int64_t i = 0; i < t.count(); ++i) {
    const float value = normal(generator);
    if (dtype == tensor::DType::kF32) t.as<float>()[i] = value;
    if (dtype == tensor::DType::kF16) t.as<tensor::F16>()[i] = tensor::to_f16(value);
    if (dtype == tensor::DType::kBF16) t.as<tensor::BF16>()[i] = tensor::to_bf16(value);
  }
  return t;
}

std::string config_json(const TinyOptions& o) {
  json config({{"architectures", {o.experts > 0 ? "MixtralForCausalLM" : o.architecture}},
               {"model_type", o.experts > 0 ? "mixtral" : "llama"},
               {"hidden_size", o.hidden},
               {"intermediate_size", o.intermediate},
               {"num_hidden_layers", o.blocks},
               {"num_attention_heads", o.heads},
               {"num_key_value_heads", o.kv_heads},
               {"head_dim", o.hidden / o.heads},
               {"vocab_size", o.vocab},
               {"max_position_embeddings", 512},
               {"rms_norm_eps", 1e-5},
               {"rope_theta", 10000.0},
               {"hidden_act", "silu"},
               {"attention_bias", false},
               {"mlp_bias", false},
               {"tie_word_embeddings", o.tied},
               {"torch_dtype", "bfloat16"}});
  if (o.experts > 0) config.update({{"num_local_experts", o.experts}, {"num_experts_per_tok", o.experts_per_token}});
  return config.dump(2);
}

void must(const Status& status) {
  ASSERT_TRUE(status.ok()) << status;
}

}  // namespace

std::vector<formats::NamedTensor> tiny_tensors(const TinyOptions& o) {
  std::vector<formats::NamedTensor> tensors;
  uint64_t seed = 1000;
  const auto add = [&](const std::string& name, tensor::Shape shape, float spread, float center) {
    tensors.push_back({name, random_tensor(o.dtype, std::move(shape), spread, center, ++seed)});
  };
  const int64_t kv = o.hidden / o.heads * o.kv_heads;
  add("model.embed_tokens.weight", {o.vocab, o.hidden}, 0.5f, 0);
  for (int64_t b = 0; b < o.blocks; ++b) {
    const std::string prefix = absl::StrCat("model.layers.", b, ".");
    add(prefix + "input_layernorm.weight", {o.hidden}, 0.1f, 1);
    add(prefix + "self_attn.q_proj.weight", {o.hidden, o.hidden}, 0.1f, 0);
    add(prefix + "self_attn.k_proj.weight", {kv, o.hidden}, 0.1f, 0);
    add(prefix + "self_attn.v_proj.weight", {kv, o.hidden}, 0.1f, 0);
    add(prefix + "self_attn.o_proj.weight", {o.hidden, o.hidden}, 0.1f, 0);
    add(prefix + "post_attention_layernorm.weight", {o.hidden}, 0.1f, 1);
    const auto mlp = [&](const std::string& module, const std::array<const char*, 3>& gate_up_down) {
      add(absl::StrCat(module, gate_up_down[0], ".weight"), {o.intermediate, o.hidden}, 0.1f, 0);
      add(absl::StrCat(module, gate_up_down[1], ".weight"), {o.intermediate, o.hidden}, 0.1f, 0);
      add(absl::StrCat(module, gate_up_down[2], ".weight"), {o.hidden, o.intermediate}, 0.1f, 0);
    };
    if (o.experts == 0) mlp(prefix + "mlp.", {"gate_proj", "up_proj", "down_proj"});
    if (o.experts > 0) add(prefix + "block_sparse_moe.gate.weight", {o.experts, o.hidden}, 0.3f, 0);
    for (int64_t e = 0; e < o.experts; ++e) {
      mlp(absl::StrCat(prefix, "block_sparse_moe.experts.", e, "."), {"w1", "w3", "w2"});
    }
  }
  add("model.norm.weight", {o.hidden}, 0.1f, 1);
  if (!o.tied) add("lm_head.weight", {o.vocab, o.hidden}, 0.2f, 0);
  return tensors;
}

void write_tiny_model(base::Env& env, const std::string& folder, const TinyOptions& options,
                      const std::vector<formats::NamedTensor>& tensors) {
  must(env.make_folders(folder));
  must(base::write_file_atomically(env, folder + "/config.json", config_json(options)));
  must(base::write_file_atomically(env, folder + "/tokenizer.json", tokenizer_json()));
  must(base::write_file_atomically(env, folder + "/generation_config.json", "{\"eos_token_id\": 1}\n"));
  must(formats::write_safetensors(env, folder + "/model.safetensors", tensors).status());
}

void write_tiny_model(base::Env& env, const std::string& folder, const TinyOptions& options) {
  write_tiny_model(env, folder, options, tiny_tensors(options));
}

std::string tiny_text(size_t bytes, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::string text;
  while (text.size() < bytes) {
    const int letters = 2 + static_cast<int>(generator() % 7);
    for (int i = 0; i < letters; ++i) text += static_cast<char>('a' + generator() % 26);
    text += generator() % 12 == 0 ? '\n' : ' ';
  }
  return text;
}

void RecordingSink::progress(int64_t done, int64_t total, std::string_view, std::string_view) {
  steps.emplace_back(done, total);
  if (on_progress) on_progress(done, total);
}

World::World(const TinyOptions& options) {
  write_tiny_model(*env, "/model", options);
  write_texts();
}

World::World(const TinyOptions& options, const std::vector<formats::NamedTensor>& tensors) {
  write_tiny_model(*env, "/model", options, tensors);
  write_texts();
}

void World::write_texts() {
  must(env->make_folders("/text"));
  must(base::write_file_atomically(*env, "/text/en.txt", tiny_text(6000, 1)));
  must(base::write_file_atomically(*env, "/text/ko.txt", tiny_text(6000, 2)));
  must(base::write_file_atomically(*env, "/text/eval.en.txt", tiny_text(2000, 3)));
  must(base::write_file_atomically(*env, "/text/eval.ko.txt", tiny_text(2000, 4)));
}

Status World::run(const Run& run) {
  Task task;
  task.run = "test";
  task.stage = task.uses = run.uses;
  task.key = run.key;
  task.fresh = run.fresh;
  task.artifact = run.artifact.empty() ? "/a/" + run.uses : run.artifact;
  const auto datasets = [](const std::string& prefix) {
    return json::array({{{"path", "/text/" + prefix + "en.txt"}, {"language", "en"}},
                        {{"path", "/text/" + prefix + "ko.txt"}, {"language", "ko"}}});
  };
  if (run.uses == "analyze") task.with = {{"model", "/model"}};
  if (run.uses == "calibrate") {
    task.with = {{"datasets", datasets("")}, {"samples", 10}, {"sequenceLength", 64}, {"compute", "fp32"}};
  }
  if (run.uses == "plan") task.with = {{"groupSize", 32}};
  if (run.uses == "quantize" || run.uses == kPartStage) task.with = {{"compute", "fp32"}};
  if (run.uses == "validate") {
    task.with = {{"datasets", datasets("eval.")}, {"sequenceLength", 64}, {"compute", "fp32"}};
  }
  task.with.update(run.with);
  for (const char* input : {"analyze", "calibrate", "plan", "quantize"}) {
    if (input != run.uses) task.inputs[input] = absl::StrCat("/a/", input);
  }
  for (const auto& [input, folder] : run.inputs) task.inputs[input] = folder;
  const auto run_rank = [&](comm::Communicator& comm, ProgressSink& progress) -> Status {
    device::ThreadPool pool(run.threads);
    base::Env& used = run.env != nullptr ? *run.env : *env;
    StageContext context{task, used, clock_, pool, device::detect_cpu(), progress, cancelled, comm};
    const Status status = run_stage(context);
    if (comm.rank() == 0) summaries[run.uses] = context.summary;
    if (!status.ok() && !is_agreed(status)) comm.end_all(static_cast<int>(exit_code_for(status)));
    return status;
  };
  if (run.ranks == 1) return run_rank(comm::self(), sink);
  const std::vector<std::unique_ptr<comm::Communicator>> comms = comm::make_thread_ranks(run.ranks, run.machines);
  std::vector<Status> statuses(comms.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < comms.size(); ++r) {
    threads.emplace_back([&, r] {
      RecordingSink other;
      statuses[r] = run_rank(*comms[r], r == 0 ? static_cast<ProgressSink&>(sink) : other);
    });
  }
  for (std::thread& thread : threads) thread.join();
  // What a rank failed with matters, not that the others were ended because of it.
  for (const Status& status : statuses) {
    if (!status.ok() && !absl::IsAborted(status)) return status;
  }
  return statuses.front();
}

Status World::run_until(const std::string& last, const std::map<std::string, json>& with) {
  for (const char* uses : {"analyze", "calibrate", "plan", "quantize", "validate"}) {
    const auto own = with.find(uses);
    GQ_RETURN_IF_ERROR(run({.uses = uses, .with = own == with.end() ? json::object() : own->second}));
    if (uses == last) break;
  }
  return absl::OkStatus();
}

std::map<std::string, std::string> World::files(const std::string& folder) {
  std::map<std::string, std::string> found;
  const auto names = env->list(folder);
  if (!names.ok()) return found;
  for (const std::string& name : *names) {
    if (name.front() == '.') continue;
    const std::string path = folder + "/" + name;
    if (env->is_folder(path)) {
      for (auto& [below, content] : files(path)) found[name + "/" + below] = std::move(content);
    } else {
      const auto content = base::read_file(*env, path);
      found[name] = content.ok() ? *content : content.status().ToString();
    }
  }
  return found;
}

}  // namespace gridquant::stages::testing
