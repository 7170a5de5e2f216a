// Unicode's normal forms as Hugging Face tokenizers makes them (combining classes and decompositions of Unicode 9).
// Thread-safe.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace gridquant::text {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// The normalized text: `text` (UTF-8) itself where nothing changes, otherwise a view into a new element of `buffers`.
StatusOr<std::string_view> normalize(NormalForm form, std::string_view text, std::deque<std::string>& buffers);

}  // namespace gridquant::text
