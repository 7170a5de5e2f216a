// gq-source tokenizer GGUF OUT: OUT/tokenizer.json of a file that may be a vocabulary only.
// gq-source f32|kept MODEL OUT [ADAPTER]: what gridquant reads from a model, as a Hugging Face folder that another
// implementation can load: every tensor (f32: as it is computed with; kept: as a result keeps it) and every text. A
// test tool, not part of the product.
#include <cstdio>
#include <string>
#include <vector>

#include "engine/formats/adapter.h"
#include "engine/formats/gguf/file.h"
#include "engine/formats/gguf/tokenizer.h"
#include "engine/formats/source.h"

namespace gridquant {
namespace {

Status run(bool f32, const std::string& model, const std::string& out, const std::string& adapter) {
  base::Env& env = base::posix_env();
  GQ_ASSIGN_OR_RETURN(formats::Source source, formats::open_source(env, model));
  if (!adapter.empty()) {
    GQ_ASSIGN_OR_RETURN(source, formats::apply_adapter(env, std::move(source), adapter));
  }
  GQ_RETURN_IF_ERROR(env.make_folders(out));
  std::vector<formats::NamedTensor> tensors;
  for (const std::string& name : source.tensors->names()) {
    const tensor::Shape shape = source.tensors->find(name)->shape;
    GQ_ASSIGN_OR_RETURN(tensor::Tensor tensor,
                        f32 ? source.tensors->read_f32(name, shape) : source.tensors->read(name));
    tensors.push_back({name, std::move(tensor)});
  }
  GQ_RETURN_IF_ERROR(formats::write_safetensors(env, base::join_path(out, "model.safetensors"), tensors).status());
  GQ_ASSIGN_OR_RETURN(const auto names, source.texts->names());
  for (const std::string& name : names) {
    GQ_ASSIGN_OR_RETURN(const std::string text, source.texts->read(name));
    GQ_RETURN_IF_ERROR(base::write_file_atomically(env, base::join_path(out, name), text));
  }
  return absl::OkStatus();
}

Status write_tokenizer(const std::string& path, const std::string& out) {
  base::Env& env = base::posix_env();
  GQ_ASSIGN_OR_RETURN(const formats::GgufFile file, formats::GgufFile::open(env, path));
  GQ_ASSIGN_OR_RETURN(const std::string text, formats::gguf_tokenizer_json(file.values(), path));
  GQ_RETURN_IF_ERROR(env.make_folders(out));
  return base::write_file_atomically(env, base::join_path(out, "tokenizer.json"), text);
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::fprintf(stderr, "usage: gq-source f32|kept|tokenizer MODEL OUT [ADAPTER]\n");
    return 2;
  }
  const std::string how = argv[1];
  const gridquant::Status status = how == "tokenizer"
                                       ? gridquant::write_tokenizer(argv[2], argv[3])
                                       : gridquant::run(how == "f32", argv[2], argv[3], argc == 5 ? argv[4] : "");
  if (!status.ok()) std::fprintf(stderr, "gq-source: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : static_cast<int>(gridquant::exit_code_for(status));
}
