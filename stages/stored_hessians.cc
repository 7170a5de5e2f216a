// Triangles of Hessians, written and read back. Not here: the sums.
#include "stages/stored_hessians.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/digest.h"
#include "stages/parallel.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

constexpr const char* kFolder = "hessians";
constexpr const char* kList = "hessians.json";
constexpr int64_t kPieceFloats = 1 << 20;  // written at once, if a row is not longer
constexpr int64_t kTile = 64;              // rows and columns mirrored at once: both sides stay in the cache

std::string name_of_file(int64_t b) {
  return absl::StrFormat("%s/block-%05d.safetensors", kFolder, b);
}

std::string file_of(const std::string& artifact, int64_t b) {
  return base::join_path(artifact, name_of_file(b));
}

int64_t triangle(int64_t k) {
  return k * (k + 1) / 2;
}

std::vector<std::pair<std::string, formats::TensorEntry>> entries_of(const std::vector<HessianPart>& parts) {
  std::vector<std::pair<std::string, formats::TensorEntry>> entries;
  for (const HessianPart& part : parts) {
    entries.push_back({part.tensor, {.dtype = tensor::DType::kF32, .shape = {triangle(part.width)}}});
  }
  return entries;
}

void mirror(tensor::Matrix<float> h, device::ThreadPool& pool) {
  pool.parallel_for((h.rows + kTile - 1) / kTile, [&](int64_t tile, int) {
    const int64_t end = std::min(h.rows, (tile + 1) * kTile);
    for (int64_t from = 0; from < end; from += kTile) {
      for (int64_t i = tile * kTile; i < end; ++i) {
        for (int64_t j = from; j < std::min(i, from + kTile); ++j) h.row(i)[j] = h.row(j)[i];
      }
    }
  });
}

}  // namespace

std::vector<HessianPart> hessians_of(const ModelSource& source, int64_t b) {
  const std::vector<model::SiteSpec> sites = source.architecture->sites(source.config, b);
  std::vector<HessianPart> parts;
  for (size_t s = 0; s < sites.size(); ++s) {
    for (model::SitePart& part : model::parts_of(sites[s])) {
      std::string tensor = absl::StrCat("blocks.", b, ".", part.name, ".hessian");
      parts.push_back({s, std::move(part), sites[s].width, std::move(tensor)});
    }
  }
  std::ranges::sort(parts, {}, &HessianPart::tensor);  // all have one dtype: then the file's order is that of the names
  return parts;
}

uint64_t hessian_file_bytes(const ModelSource& source) {
  uint64_t bytes = 0;
  for (int64_t b = 0; b < source.config.block_count; ++b) {
    bytes += formats::safetensors_size(entries_of(hessians_of(source, b)));
  }
  return bytes;
}

StatusOr<HessianWriter> HessianWriter::open(base::Env& env, const std::string& artifact, const ModelSource& source) {
  const std::string folder = base::join_path(artifact, kFolder);
  GQ_RETURN_IF_ERROR(env.remove_tree(folder));
  GQ_RETURN_IF_ERROR(env.make_folders(folder));
  const uint64_t needed = hessian_file_bytes(source);
  GQ_ASSIGN_OR_RETURN(const uint64_t available, env.free_bytes(folder));
  if (available < needed) {
    return absl::ResourceExhaustedError(absl::StrCat(folder, ": the Hessians of all blocks need ", needed,
                                                     " bytes, only ", available,
                                                     " are free (statistics: diagonal stores none)"));
  }
  return HessianWriter(env, artifact, source);
}

Status HessianWriter::begin_block(int64_t b) {
  block_ = b;
  GQ_ASSIGN_OR_RETURN(
      formats::SafetensorsStream stream,
      formats::SafetensorsStream::create(*env_, file_of(artifact_, b), entries_of(hessians_of(*source_, b))));
  stream_ = std::make_unique<formats::SafetensorsStream>(std::move(stream));
  return absl::OkStatus();
}

Status HessianWriter::add(const HessianPart& part, int64_t rows, tensor::Matrix<const float> h) {
  const int64_t room = std::max(kPieceFloats, h.cols);
  if (buffer_.size() < static_cast<size_t>(room) * sizeof(float)) {
    buffer_ = tensor::Buffer(static_cast<size_t>(room) * sizeof(float));
  }
  auto* floats = reinterpret_cast<float*>(buffer_.data());
  int64_t held = 0;
  const auto flush = [&] {
    const size_t bytes = static_cast<size_t>(held) * sizeof(float);
    held = 0;
    return stream_->append({buffer_.data(), bytes});
  };
  for (int64_t i = 0; i < h.rows; ++i) {
    const int64_t count = h.cols - i;
    if (held + count > room) GQ_RETURN_IF_ERROR(flush());
    std::copy_n(h.row(i) + i, count, floats + held);
    held += count;
  }
  parts_.push_back({{"block", block_}, {"tensor", part.tensor}, {"width", part.width}, {"rows", rows}});
  return flush();
}

Status HessianWriter::end_block() {
  const Status status = stream_->commit().status();
  stream_.reset();
  return status;
}

Status HessianWriter::finish(const std::string& tokens_digest) {
  const json list = {{"format", 1}, {"tokens_digest", tokens_digest}, {"hessians", parts_}};
  return base::write_file_atomically(*env_, base::join_path(artifact_, kList), list.dump(1) + "\n");
}

StatusOr<StoredHessians> StoredHessians::open(base::Env& env, const std::string& artifact) {
  GQ_ASSIGN_OR_RETURN(CommittedFiles files, CommittedFiles::open(env, artifact));
  if (!files.contains(kList)) {
    return absl::FailedPreconditionError(
        absl::StrCat(artifact, ": calibrate stored no Hessians here; give it 'statistics: hessian'"));
  }
  StoredHessians stored(env, artifact, std::move(files));
  GQ_ASSIGN_OR_RETURN(const std::string text, stored.committed_.read(kList));
  stored.digest_ = base::digest_of(text);
  try {
    const json list = json::parse(text);
    for (const json& part : list.at("hessians")) {
      stored.rows_[part.at("tensor").get<std::string>()] = part.at("rows").get<int64_t>();
    }
  } catch (const json::exception& e) {
    const std::string path = base::join_path(artifact, kList);
    return absl::DataLossError(absl::StrCat(path, ": is not a list of Hessians: ", e.what()));
  }
  return stored;
}

StatusOr<int64_t> StoredHessians::rows(const HessianPart& part) const {
  const auto found = rows_.find(part.tensor);
  if (found != rows_.end()) return found->second;
  return absl::DataLossError(absl::StrCat(base::join_path(artifact_, kList), ": there is no ", part.tensor));
}

Status StoredHessians::open_block(int64_t b) {
  if (block_ == b) return absl::OkStatus();
  file_.reset();
  StatusOr<formats::SafetensorsFile> file = formats::SafetensorsFile::open(*env_, file_of(artifact_, b));
  if (!file.ok()) return as_damage(file.status());
  file_.emplace(*std::move(file));
  block_ = b;
  verified_ = false;
  return absl::OkStatus();
}

StatusOr<tensor::Tensor> StoredHessians::read(int64_t b, const HessianPart& part, device::ThreadPool& pool) {
  GQ_RETURN_IF_ERROR(open_block(b));
  const auto found = file_->header().tensors.find(part.tensor);
  const tensor::Shape shape = {triangle(part.width)};
  if (found == file_->header().tensors.end() || found->second.dtype != tensor::DType::kF32 ||
      found->second.shape != shape) {
    return absl::DataLossError(absl::StrCat(file_->path(), ": has no ", part.tensor, " of ", shape.front(), " F32"));
  }
  if (!verified_) {  // once per block: reading it costs little beside solving it
    GQ_RETURN_IF_ERROR(committed_.verify(name_of_file(b)));
    verified_ = true;
  }
  tensor::Tensor hessian(tensor::DType::kF32, {part.width, part.width});
  const tensor::Matrix<float> h = hessian.matrix<float>();
  GQ_RETURN_IF_ERROR(parallel(pool, (part.width + kTile - 1) / kTile, [&](int64_t tile, int) -> Status {
    for (int64_t i = tile * kTile; i < std::min(part.width, (tile + 1) * kTile); ++i) {
      const int64_t before = triangle(part.width) - triangle(part.width - i);
      GQ_RETURN_IF_ERROR(file_->read_bytes(found->second, static_cast<uint64_t>(before) * sizeof(float),
                                           std::as_writable_bytes(std::span(h.row(i) + i, h.row(i) + part.width))));
    }
    return absl::OkStatus();
  }));
  mirror(h, pool);
  return hessian;
}

}  // namespace gridquant::stages
