// A GGUF model on disk: one file, or the parts of a split one (PREFIX-00001-of-00003.gguf), as one set of keys and
// tensors. Not here: what keys and names mean.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/gguf/header.h"

namespace gridquant::formats {

// Typed reading of keys. Absent keys give the fallback; a key of another type keeps the first error, which names it.
class GgufKeys {
 public:
  GgufKeys(const std::map<std::string, GgufValue>& values, std::string path)
      : values_(values), path_(std::move(path)) {}

  bool has(const std::string& key) const { return values_.contains(key); }
  int64_t integer(const std::string& key, int64_t fallback);
  double number(const std::string& key, double fallback);  // integers too
  bool flag(const std::string& key, bool fallback);
  std::string text(const std::string& key, const std::string& fallback);
  bool is_integers(const std::string& key) const;  // an array of them
  // The key's vector; null if absent.
  const std::vector<std::string>* texts(const std::string& key) { return vector<std::string>(key); }
  const std::vector<int64_t>* integers(const std::string& key) { return vector<int64_t>(key); }
  const std::vector<double>* numbers(const std::string& key) { return vector<double>(key); }

  void require(const std::string& key);  // an error if it is absent
  void fail(const std::string& what);
  void refuse(const std::string& what);
  const Status& status() const { return status_; }

 private:
  template <typename T>
  const std::vector<T>* vector(const std::string& key);
  const GgufValue* find(const std::string& key) const;

  const std::map<std::string, GgufValue>& values_;
  std::string path_;
  Status status_;
};

// Immutable and thread-safe after open.
class GgufFile {
 public:
  // `path` is the file, or any part of a split one; all parts must lie beside each other. Checks that they belong
  // together.
  static StatusOr<GgufFile> open(base::Env& env, const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<std::string>& files() const { return files_; }
  const std::map<std::string, GgufValue>& values() const { return values_; }
  std::vector<std::string> names() const;
  const GgufTensor* find(const std::string& name) const;  // null if absent
  // The tensor's bytes as they are in the file.
  StatusOr<tensor::Buffer> read(const std::string& name) const;

 private:
  struct Place {
    std::shared_ptr<const base::RandomAccessFile> file;
    GgufTensor tensor;
  };
  Status add_part(base::Env& env, const std::string& path, int64_t index, int64_t count);

  std::string path_;
  std::vector<std::string> files_;
  std::map<std::string, GgufValue> values_;  // of the first part
  std::map<std::string, Place> tensors_;
};

}  // namespace gridquant::formats
