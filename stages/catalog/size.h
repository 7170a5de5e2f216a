// A number of bytes as people write it: in pipeline files, and again in the task that a worker is given.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace gridquant::stages {

// "1048576", or a whole number with k M G T (powers of 1000) or Ki Mi Gi Ti (powers of 1024).
std::optional<int64_t> read_size(std::string_view text);

}  // namespace gridquant::stages
