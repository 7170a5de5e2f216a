#include "engine/formats/gguf/file.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace gridquant::formats {
namespace {

constexpr uint64_t kFirstRead = 1 << 20;  // holds the header of all but the largest vocabularies' files
constexpr size_t kPartSuffix = sizeof("-00001-of-00001.gguf") - 1;
constexpr int64_t kMostParts = 99'999;

StatusOr<GgufHeader> read_header(const base::RandomAccessFile& file) {
  std::string head;
  for (uint64_t want = kFirstRead;; want *= 4) {
    const uint64_t have = head.size();
    head.resize(std::min(want, file.size()));
    GQ_RETURN_IF_ERROR(file.read(have, std::as_writable_bytes(std::span(head).subspan(have))));
    GQ_ASSIGN_OR_RETURN(auto header, parse_gguf_header(head, file.size(), file.path()));
    if (header) return *std::move(header);
  }
}

// "model-00002-of-00003.gguf" -> "model"; nothing for other names.
std::optional<std::string> split_prefix(const std::string& path) {
  if (path.size() <= kPartSuffix) return std::nullopt;
  const std::string suffix = path.substr(path.size() - kPartSuffix);
  std::string shape = suffix;
  std::replace_if(
      shape.begin(), shape.end(), [](char c) { return c >= '0' && c <= '9'; }, '#');
  if (shape != "-#####-of-#####.gguf") return std::nullopt;
  return path.substr(0, path.size() - kPartSuffix);
}

}  // namespace

const GgufValue* GgufKeys::find(const std::string& key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

bool GgufKeys::is_integers(const std::string& key) const {
  const GgufValue* value = find(key);
  return value != nullptr && std::holds_alternative<std::vector<int64_t>>(*value);
}

void GgufKeys::fail(const std::string& what) {
  status_.Update(absl::FailedPreconditionError(absl::StrCat(path_, ": ", what)));
}

void GgufKeys::refuse(const std::string& what) {
  status_.Update(absl::UnimplementedError(absl::StrCat(path_, ": ", what)));
}

void GgufKeys::require(const std::string& key) {
  if (!has(key)) fail(absl::StrCat("the key \"", key, "\" is missing"));
}

int64_t GgufKeys::integer(const std::string& key, int64_t fallback) {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (const auto* number = std::get_if<int64_t>(value)) return *number;
  fail(absl::StrCat("the key \"", key, "\" is not a whole number below 2^63"));
  return fallback;
}

double GgufKeys::number(const std::string& key, double fallback) {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (const auto* number = std::get_if<double>(value)) return *number;
  return static_cast<double>(integer(key, 0));
}

bool GgufKeys::flag(const std::string& key, bool fallback) {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (const auto* flag = std::get_if<bool>(value)) return *flag;
  fail(absl::StrCat("the key \"", key, "\" is not true or false"));
  return fallback;
}

std::string GgufKeys::text(const std::string& key, const std::string& fallback) {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (const auto* text = std::get_if<std::string>(value)) return *text;
  fail(absl::StrCat("the key \"", key, "\" is not a string"));
  return fallback;
}

template <typename T>
const std::vector<T>* GgufKeys::vector(const std::string& key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return nullptr;
  const auto* found = std::get_if<std::vector<T>>(value);
  if (found == nullptr) fail(absl::StrCat("the key \"", key, "\" is not an array of the right type"));
  return found;
}
template const std::vector<std::string>* GgufKeys::vector<std::string>(const std::string& key);
template const std::vector<int64_t>* GgufKeys::vector<int64_t>(const std::string& key);
template const std::vector<double>* GgufKeys::vector<double>(const std::string& key);

StatusOr<GgufFile> GgufFile::open(base::Env& env, const std::string& path) {
  GgufFile made;
  made.path_ = path;
  const auto prefix = split_prefix(path);
  const int64_t count = prefix ? std::stoll(path.substr(path.size() - 10, 5)) : 1;
  if (count < 1 || count > kMostParts) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": its name says that it has ", count, " parts"));
  }
  for (int64_t part = 0; part < count; ++part) {
    const std::string name = prefix ? absl::StrFormat("%s-%05d-of-%05d.gguf", *prefix, part + 1, count) : path;
    if (prefix && !env.exists(name)) {
      return absl::NotFoundError(absl::StrCat(name, ": this part of the model is missing: get all ", count, " parts"));
    }
    GQ_RETURN_IF_ERROR(made.add_part(env, name, part, count));
  }
  GgufKeys keys(made.values_, path);
  const int64_t all = keys.integer("split.tensors.count", static_cast<int64_t>(made.tensors_.size()));
  if (all != static_cast<int64_t>(made.tensors_.size())) {
    keys.fail(absl::StrCat("its parts hold ", made.tensors_.size(), " tensors where split.tensors.count says ", all));
  }
  GQ_RETURN_IF_ERROR(keys.status());
  return made;
}

Status GgufFile::add_part(base::Env& env, const std::string& path, int64_t index, int64_t count) {
  GQ_ASSIGN_OR_RETURN(std::shared_ptr<const base::RandomAccessFile> file, env.open(path));
  GQ_ASSIGN_OR_RETURN(GgufHeader header, read_header(*file));
  GgufKeys keys(header.values, path);
  const int64_t said_count = std::max<int64_t>(1, keys.integer("split.count", 1));
  const int64_t said_index = keys.integer("split.no", 0);
  if (said_count != count || said_index != index) {
    keys.fail(absl::StrCat("it is part ", said_index + 1, " of ", said_count, ", but its name says part ", index + 1,
                           " of ", count, ": keep the names that the parts had"));
  }
  GQ_RETURN_IF_ERROR(keys.status());
  for (auto& [name, tensor] : header.tensors) {
    if (tensors_.contains(name)) {
      return absl::FailedPreconditionError(absl::StrCat(path, ": tensor \"", name, "\" is in an earlier part already"));
    }
    tensors_[name] = {file, std::move(tensor)};
  }
  if (index == 0) values_ = std::move(header.values);
  files_.push_back(path);
  return absl::OkStatus();
}

std::vector<std::string> GgufFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : tensors_) names.push_back(name);
  return names;
}

const GgufTensor* GgufFile::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second.tensor;
}

StatusOr<tensor::Buffer> GgufFile::read(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) return absl::NotFoundError(absl::StrCat(path_, ": there is no tensor \"", name, "\""));
  tensor::Buffer bytes(it->second.tensor.bytes);
  GQ_RETURN_IF_ERROR(it->second.file->read(it->second.tensor.begin, {bytes.data(), bytes.size()}));
  return bytes;
}

}  // namespace gridquant::formats
