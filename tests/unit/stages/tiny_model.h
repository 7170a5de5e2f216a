// A tiny random Llama with a byte tokenizer, some text, and a harness that runs stages on them in memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/env.h"
#include "engine/formats/safetensors.h"
#include "stages/context.h"

namespace gridquant::stages::testing {

struct TinyOptions {
  int64_t hidden = 64;
  int64_t intermediate = 96;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t blocks = 3;
  int64_t vocab = 260;  // 256 bytes and some that no text gives
  bool tied = true;
  tensor::DType dtype = tensor::DType::kBF16;
  std::string architecture = "LlamaForCausalLM";
  int64_t experts = 0;  // more: a mixture (architecture MixtralForCausalLM), `intermediate` wide each
  int64_t experts_per_token = 2;
};

// The tensors of such a model: tests change them before they are written.
std::vector<formats::NamedTensor> tiny_tensors(const TinyOptions& options);
void write_tiny_model(base::Env& env, const std::string& folder, const TinyOptions& options,
                      const std::vector<formats::NamedTensor>& tensors);
void write_tiny_model(base::Env& env, const std::string& folder, const TinyOptions& options);

// Text of `bytes` bytes that looks a little like language; another `seed`, another text.
std::string tiny_text(size_t bytes, uint64_t seed);

class RecordingSink final : public ProgressSink {
 public:
  void progress(int64_t done, int64_t total, std::string_view unit, std::string_view message) override;
  void note(std::string_view message) override { notes.emplace_back(message); }
  void warning(std::string_view message) override { warnings.emplace_back(message); }

  std::function<void(int64_t done, int64_t total)> on_progress;
  std::vector<std::string> notes, warnings;
  std::vector<std::pair<int64_t, int64_t>> steps;
};

// A model, texts in two languages, and artifact folders /a/<stage>.
class World {
 public:
  explicit World(const TinyOptions& options = {});
  World(const TinyOptions& options, const std::vector<formats::NamedTensor>& tensors);

  struct Run {
    std::string uses;
    nlohmann::json with = nlohmann::json::object();  // added to what World gives each stage
    std::string artifact = {};                       // default /a/<uses>
    int threads = 2;
    base::Env* env = nullptr;  // default: World's own
    std::string key = {};
    std::string fresh = {};
    int ranks = 1;                                   // on threads; only the first one's summary and progress are kept
    int machines = 1;                                // that the ranks are spread over
    std::map<std::string, std::string> inputs = {};  // beside, or instead of, /a/<stage>
  };
  Status run(const Run& run);
  // Stages in order up to and with `last`, with their own parameters by name. Stops at the first error.
  Status run_until(const std::string& last, const std::map<std::string, nlohmann::json>& with = {});

  // Every file below `folder` that belongs to a result, by relative path. Hidden folders left out.
  std::map<std::string, std::string> files(const std::string& folder);
  nlohmann::json summary_of(const std::string& uses) { return summaries[uses]; }

  std::unique_ptr<base::Env> env = base::make_memory_env();
  RecordingSink sink;
  std::atomic<bool> cancelled{false};
  std::map<std::string, nlohmann::json> summaries;

 private:
  void write_texts();
  base::ManualClock clock_;
};

}  // namespace gridquant::stages::testing
