// Where a model's weights and texts come from, whatever they are stored in: a Hugging Face folder, a GGUF file, either
// of them under an adapter. Stages see these two interfaces and no container. To the reader of a source everything
// looks like a Hugging Face folder: tensor names, shapes and row order are the ones of transformers, the texts are
// config.json, tokenizer.json and so on.
//
// Not here: which tensors a model must have (engine/model), what is written (checkpoint_writer).
// Thread-safety: everything is immutable after opening, and may be read from any thread.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/row_reader.h"
#include "engine/formats/safetensors.h"
#include "engine/tensor/tensor.h"

namespace gridquant::formats {

inline constexpr char kConfigFile[] = "config.json";

// Named float tensors, in two forms: as `read` gives them they are written into a result that keeps them; as `read_f32`
// gives them they are computed with. For a plain checkpoint one is the widened other; where the source must compute a
// tensor (block-quantized, scaled, merged), read_f32 is the computed value and read that value rounded once to find()'s
// dtype.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // The folder or file, for messages.
  virtual const std::string& path() const = 0;
  virtual std::vector<std::string> names() const = 0;  // sorted
  // dtype, shape and bytes of what `read` returns; null if absent. `begin` means nothing outside the container. Valid
  // as long as the source.
  virtual const TensorEntry* find(const std::string& name) const = 0;
  virtual StatusOr<tensor::Tensor> read(const std::string& name) const = 0;
  // F32 of exactly `shape`. Errors name the tensor and both shapes; NaN or infinity is an error that names the tensor
  // and the first such element.
  virtual StatusOr<tensor::Tensor> read_f32(const std::string& name, const tensor::Shape& shape) const = 0;
  // What read_f32 gives, in the narrowest of F32, F16 and BF16 that holds the same values: less memory until it is
  // used. By default F32.
  virtual StatusOr<tensor::Tensor> read_weight(const std::string& name, const tensor::Shape& shape) const {
    return read_f32(name, shape);
  }
  // What read gives, some rows at a time. By default the tensor is read whole, here and now.
  virtual StatusOr<std::unique_ptr<RowReader>> rows(const std::string& name) const;

  bool contains(const std::string& name) const { return find(name) != nullptr; }
};

// Another source with some tensors changed, added or renamed: override what differs.
class TensorDecorator : public TensorSource {
 public:
  explicit TensorDecorator(std::shared_ptr<const TensorSource> inner) : inner_(std::move(inner)) {}
  const std::string& path() const override { return inner_->path(); }
  std::vector<std::string> names() const override { return inner_->names(); }
  const TensorEntry* find(const std::string& name) const override { return inner_->find(name); }
  StatusOr<tensor::Tensor> read(const std::string& name) const override { return inner_->read(name); }
  StatusOr<tensor::Tensor> read_f32(const std::string& name, const tensor::Shape& shape) const override {
    return inner_->read_f32(name, shape);
  }

 protected:
  const TensorSource& inner() const { return *inner_; }

 private:
  std::shared_ptr<const TensorSource> inner_;
};

// The small files beside the weights: config.json, and what a loader of the result needs too (tokenizer files, chat
// template, generation_config.json).
class TextFiles {
 public:
  virtual ~TextFiles() = default;
  virtual StatusOr<std::vector<std::string>> names() const = 0;           // sorted
  virtual StatusOr<std::string> read(const std::string& name) const = 0;  // NotFound if absent
  virtual std::string path_of(const std::string& name) const = 0;         // for messages
};

// The texts of a folder. names() lists config.json and the companions that are there; any other file may be read too.
std::shared_ptr<const TextFiles> folder_texts(base::Env& env, const std::string& folder);
// `inner` with another config.json.
std::shared_ptr<const TextFiles> with_config(std::shared_ptr<const TextFiles> inner, std::string config);

struct Source {
  std::string path;  // as the user named it
  std::shared_ptr<const TensorSource> tensors;
  std::shared_ptr<const TextFiles> texts;
  std::vector<std::string> files;  // paths of everything on disk that it is made of
};

// Opens the model at `path`: a Hugging Face folder, a GGUF file, or a folder that holds one GGUF model and no
// config.json. FP8 weights are read as what they stand for (fp8.h); of a model that sees pictures the text part is read
// (text_part.h). Headers are read and checked, weights are not read. NotFound says what was looked for.
StatusOr<Source> open_source(base::Env& env, const std::string& path);

}  // namespace gridquant::formats
