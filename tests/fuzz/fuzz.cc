// The list of targets.
#include "tests/fuzz/fuzz.h"

#include <cstdio>
#include <cstdlib>

namespace gridquant::fuzz {

std::span<const Target> all_targets() {
  static constexpr Target kTargets[] = {
      {"safetensors", &safetensors},
      {"config_json", &config_json},
      {"tokenizer_json", &tokenizer_json},
      {"tokenizer_text", &tokenizer_text},
      {"sentencepiece", &sentencepiece},
      {"checkpoint_index", &checkpoint_index},
      {"pipeline_yaml", &pipeline_yaml},
      {"gguf", &gguf},
      {"adapter_config", &adapter_config},
      {"chat_template", &chat_template},
      {"documents", &documents},
  };
  return kTargets;
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz target: %s\n", what);
  std::abort();
}

}  // namespace gridquant::fuzz
