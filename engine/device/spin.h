// Inside engine/device only: looking for what will be true in a moment. Waking a thread that sleeps takes longer than
// most waits do.
#pragma once

#include <chrono>

namespace gridquant::device {

// Whether done() became true `within` a time; looked at once at least.
template <typename Done>
bool spin_until(std::chrono::microseconds within, const Done& done) {
  constexpr int kLooksPerTime = 32;
  if (done()) return true;
  if (within.count() == 0) return false;
  const auto end = std::chrono::steady_clock::now() + within;
  do {
    for (int i = 0; i < kLooksPerTime; ++i) {
      if (done()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace gridquant::device
