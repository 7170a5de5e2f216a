// What a fuzz target is: a function from any bytes to nothing, that must neither crash, hang nor take much memory. The
// same functions run under libFuzzer (preset `fuzz`, see README.md) and over their corpus in every test run
// (corpus_test.cc).
#pragma once

#include <span>
#include <string_view>

namespace gridquant::fuzz {

struct Target {
  const char* name;  // of the corpus folder, and of the libFuzzer program: fuzz_<name>
  void (*run)(std::string_view bytes);
};

// One per file of targets/, each in its file's name.
void safetensors(std::string_view bytes);
void config_json(std::string_view bytes);
void tokenizer_json(std::string_view bytes);
void tokenizer_text(std::string_view bytes);
void sentencepiece(std::string_view bytes);
void checkpoint_index(std::string_view bytes);
void pipeline_yaml(std::string_view bytes);
void gguf(std::string_view bytes);
void adapter_config(std::string_view bytes);
void chat_template(std::string_view bytes);
void documents(std::string_view bytes);

std::span<const Target> all_targets();

// Ends the process where `holds` is false: a target's way to say that an answer was wrong.
void require(bool holds, const char* what);

}  // namespace gridquant::fuzz
