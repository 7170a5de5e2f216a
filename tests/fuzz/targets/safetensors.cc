// A file's bytes through everything that reads a checkpoint: header, tensors in every form, rows, packed weights.
#include "engine/base/env.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/gptq.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {
namespace {

constexpr uint64_t kLargest = 1 << 20;

void read_all(const formats::Checkpoint& checkpoint, uint64_t file_size) {
  for (const std::string& name : checkpoint.names()) {
    const formats::TensorEntry* entry = checkpoint.find(name);
    require(entry != nullptr, "a listed tensor is not found");
    require(entry->begin <= file_size && entry->bytes <= file_size - entry->begin, "a tensor outside of its file");
    if (entry->bytes > kLargest) continue;
    const auto whole = checkpoint.read(name);
    require(whole.ok() && whole->bytes() == entry->bytes, "a tensor of the header cannot be read");
    const auto wide = checkpoint.read_f32(name, entry->shape);
    require(wide.ok() == checkpoint.read_weight(name, entry->shape).ok(), "two readers disagree");
    const auto rows = checkpoint.rows(name);
    require(rows.ok(), "no rows");
    std::string content(static_cast<size_t>((*rows)->rows()) * (*rows)->row_bytes(), '\0');
    require((*rows)->read(0, (*rows)->rows(), std::as_writable_bytes(std::span(content))).ok(), "rows cannot be read");
    if (!name.ends_with(".qweight")) continue;
    for (const int bits : {2, 3, 4, 8}) {
      formats::dequantize_gptq(checkpoint, name.substr(0, name.size() - 8), bits).status().IgnoreError();
    }
  }
}

}  // namespace

void safetensors(std::string_view bytes) {
  const auto env = base::make_memory_env();
  env->make_folders("m").IgnoreError();
  require(base::write_file_atomically(*env, "m/model.safetensors", bytes).ok(), "no file");
  const auto checkpoint = formats::Checkpoint::open(*env, "m");
  if (checkpoint.ok()) read_all(*checkpoint, bytes.size());
}

}  // namespace gridquant::fuzz
