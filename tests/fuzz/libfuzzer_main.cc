// One libFuzzer program: GRIDQUANT_FUZZ_TARGET names the function of fuzz.h.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gridquant::fuzz::GRIDQUANT_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
