// Parts of a site, and their rows.
#include "engine/model/site_parts.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace gridquant::model {

std::vector<SitePart> parts_of(const SiteSpec& site) {
  if (site.experts == 0) return {{site.name, -1, site.weights}};
  const size_t each = site.weights.size() / static_cast<size_t>(site.experts);
  std::vector<SitePart> parts;
  for (int64_t e = 0; e < site.experts; ++e) {
    const auto begin = site.weights.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(e) * each);
    parts.push_back({absl::StrCat(site.name, ".", e), e, {begin, begin + static_cast<std::ptrdiff_t>(each)}});
  }
  return parts;
}

int64_t row_count(const SiteSpec& site, const SitePart& part, const SequenceView& sequence) {
  if (part.expert < 0) return sequence.hidden.rows * site.rows_per_token;
  return sequence.routing->count(part.expert);
}

void gather_rows(const SiteSpec& site, const SitePart& part, const SequenceView& sequence, const ops::Operand& x,
                 const ops::Operand& to) {
  const int64_t count = row_count(site, part, sequence);
  const size_t row_bytes = static_cast<size_t>(x.cols) * ops::operand_size(x.compute);
  const size_t from_stride = static_cast<size_t>(x.stride) * ops::operand_size(x.compute);
  const size_t to_stride = static_cast<size_t>(to.stride) * ops::operand_size(to.compute);
  for (int64_t r = 0; r < count; ++r) {
    int64_t from = r;
    if (part.expert >= 0) {
      from = sequence.routing->begin(part.expert) + r;
      if (!site.packed) from = sequence.routing->tokens[static_cast<size_t>(from)];
    }
    std::memcpy(to.data + static_cast<size_t>(r) * to_stride, x.data + static_cast<size_t>(from) * from_stride,
                row_bytes);
  }
}

}  // namespace gridquant::model
