// A GGUF file: header, tensors under transformers' names, the texts made of its keys.
#include "engine/formats/gguf/gguf.h"

#include <span>

#include "engine/base/env.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {
namespace {

constexpr int64_t kLargest = 1 << 18;  // elements

void read_all(const formats::Source& source) {
  for (const std::string& name : source.tensors->names()) {
    const formats::TensorEntry* entry = source.tensors->find(name);
    require(entry != nullptr, "a listed tensor is not found");
    if (tensor::element_count(entry->shape) > kLargest) continue;
    const auto kept = source.tensors->read(name);
    if (kept.ok()) require(kept->bytes() == entry->bytes, "a tensor is not as its entry says");
    source.tensors->read_f32(name, entry->shape).status().IgnoreError();
    source.tensors->rows(name).status().IgnoreError();
  }
  const auto texts = source.texts->names();
  if (!texts.ok()) return;
  for (const std::string& name : *texts) source.texts->read(name).status().IgnoreError();
}

}  // namespace

void gguf(std::string_view bytes) {
  const auto env = base::make_memory_env();
  env->make_folders("m").IgnoreError();
  require(base::write_file_atomically(*env, "m/x.gguf", bytes).ok(), "no file");
  const auto source = formats::open_gguf(*env, "m/x.gguf");
  if (source.ok()) read_all(*source);
}

}  // namespace gridquant::fuzz
