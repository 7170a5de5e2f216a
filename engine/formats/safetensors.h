// The safetensors container (https://github.com/huggingface/safetensors): 8 bytes little-endian header length N, N
// bytes of JSON, tensor data. Nothing in the header is believed before it was checked against the file's size.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/digest.h"
#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/row_reader.h"
#include "engine/tensor/tensor.h"

namespace gridquant::formats {

struct TensorEntry {
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
  uint64_t begin = 0;  // byte offset in the file
  uint64_t bytes = 0;
};

struct SafetensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
};

// N, from the file's first 8 bytes (fewer if it is shorter): checked against the file's size and 100 MB.
StatusOr<uint64_t> safetensors_header_length(std::string_view head, uint64_t file_size, const std::string& path);

// `head` holds the file's first bytes: all of 8 + N. Checks length against file size, JSON (no key twice, no nesting),
// known dtype, shape product without overflow, offsets inside the file and equal to the shape's bytes, no overlap, no
// gap. Errors: FailedPrecondition, or OutOfRange where the file was cut short; `path` and the tensor in the message.
StatusOr<SafetensorsHeader> parse_safetensors_header(std::string_view head, uint64_t file_size,
                                                     const std::string& path);

class SafetensorsFile {
 public:
  static StatusOr<SafetensorsFile> open(base::Env& env, const std::string& path);
  const SafetensorsHeader& header() const { return header_; }
  // Positional read; thread-safe. NotFound if absent.
  StatusOr<tensor::Tensor> read(const std::string& name) const;
  // A part of one of this file's tensors, from its byte `offset`; the caller stays inside entry.bytes.
  Status read_bytes(const TensorEntry& entry, uint64_t offset, std::span<std::byte> to) const;
  const std::string& path() const;

 private:
  SafetensorsHeader header_;
  std::shared_ptr<const base::RandomAccessFile> file_;
};

struct NamedTensor {
  std::string name;
  tensor::Tensor tensor;
};

// A tensor whose content is made while the file is written. `write` calls `append` with all of its bytes, in order, in
// pieces of any size; it runs once.
struct StreamedTensor {
  using Append = std::function<Status(std::span<const std::byte>)>;
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
  std::function<Status(const Append& append)> write;

  uint64_t bytes() const { return static_cast<uint64_t>(tensor::element_count(shape)) * tensor::size_of(dtype); }
};
// Of a tensor in memory (borrowed), and of rows that are read a piece at a time.
StreamedTensor streamed(const NamedTensor& tensor);
StreamedTensor streamed(std::string name, std::shared_ptr<const RowReader> rows);

// A file that its caller writes tensor by tensor: temporary name, data, sync, rename, sync of the folder. Without
// commit() nothing is left of it. One thread at a time.
class SafetensorsStream {
 public:
  using Entries = std::span<const std::pair<std::string, TensorEntry>>;
  // Of `tensors` only names, dtypes and shapes are looked at. `digester` (borrowed, may be null) is given every byte.
  // InvalidArgument for a name twice, empty, reserved or not UTF-8.
  static StatusOr<SafetensorsStream> create(base::Env& env, const std::string& path, Entries tensors,
                                            base::Digester* digester = nullptr);
  SafetensorsStream(SafetensorsStream&&) = default;
  ~SafetensorsStream();

  // Which of `tensors` come one after the other.
  const std::vector<size_t>& order() const { return order_; }
  // The next bytes of the tensors in that order, in pieces of any size.
  Status append(std::span<const std::byte> data);
  uint64_t bytes() const { return bytes_; }  // so far, with the header
  // After the last byte. Returns the file's size.
  StatusOr<uint64_t> commit();

 private:
  SafetensorsStream(base::Env& env, std::string path, base::Digester* digester)
      : env_(&env), path_(std::move(path)), digester_(digester) {}
  std::string temporary() const { return path_ + ".tmp"; }

  base::Env* env_;
  std::string path_;
  base::Digester* digester_;
  std::unique_ptr<base::WritableFile> file_;  // null: committed, or moved from
  std::vector<size_t> order_;
  uint64_t bytes_ = 0;
  uint64_t end_ = 0;
};

struct WrittenFile {
  uint64_t bytes = 0;
  std::string sha256;
};

// Writes one file, whole: temporary name, data, sync, rename, sync of the folder. Byte for byte what the safetensors
// library writes with metadata {"format": "pt"}: tensors ordered by dtype (widest first), then name, whatever order is
// given; header padded with spaces to 8 bytes. InvalidArgument for a name twice, empty, reserved or not UTF-8.
StatusOr<WrittenFile> write_safetensors_file(base::Env& env, const std::string& path,
                                             std::span<const StreamedTensor> tensors);
// The same of tensors in memory, without the digest. Returns the file's size in bytes.
StatusOr<uint64_t> write_safetensors(base::Env& env, const std::string& path, std::span<const NamedTensor> tensors);
// The size that write_safetensors would give, from names, dtypes and shapes alone (begin and bytes are not looked at).
uint64_t safetensors_size(std::span<const std::pair<std::string, TensorEntry>> tensors);

}  // namespace gridquant::formats
