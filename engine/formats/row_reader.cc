// Rows of a tensor in memory. Not here: rows of files (checkpoint).
#include "engine/formats/row_reader.h"

#include <cstring>
#include <utility>

namespace gridquant::formats {
namespace {

class WholeReader final : public RowReader {
 public:
  explicit WholeReader(tensor::Tensor whole) : RowReader(whole.dtype(), whole.shape()), whole_(std::move(whole)) {}
  Status read(int64_t begin, int64_t count, std::span<std::byte> to) const override {
    const size_t bytes = static_cast<size_t>(count) * row_bytes();
    if (begin < 0 || count < 0 || begin > rows() || count > rows() - begin || to.size() != bytes) {
      return absl::InternalError("rows outside of the tensor");
    }
    if (bytes > 0) std::memcpy(to.data(), whole_.raw().data() + static_cast<size_t>(begin) * row_bytes(), bytes);
    return absl::OkStatus();
  }

 private:
  tensor::Tensor whole_;
};

}  // namespace

std::unique_ptr<RowReader> rows_of(tensor::Tensor whole) {
  return std::make_unique<WholeReader>(std::move(whole));
}

}  // namespace gridquant::formats
