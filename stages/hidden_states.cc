// Where activations lie. The decision is made buffer by buffer, in the order in which they are asked for.
#include "stages/hidden_states.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"

namespace gridquant::stages {
namespace {

// Ranks make files of the same names in one folder at the same moment, also on different machines: each needs its own.
std::string unique_part() {
  uint64_t number = 0;
  while (::getrandom(&number, sizeof(number), 0) != static_cast<ssize_t>(sizeof(number))) {
  }
  return absl::StrCat(absl::Hex(number, absl::kZeroPad16));
}

// Asks for pages of 2 MiB where there are whole ones: activations of all sequences are many times what a TLB covers
// with pages of 4 KiB, which cost 2 to 4 % of a forward pass on two threads. A hint: the system may have none, or be
// told to give none.
void prefer_huge_pages(std::byte* data, size_t bytes) {
  constexpr uintptr_t kHugePage = 2 << 20;
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (address + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (address + bytes) / kHugePage * kHugePage;
  if (begin < end) ::madvise(data + (begin - address), end - begin, MADV_HUGEPAGE);
}

}  // namespace

StatusOr<ActivationMemory> ActivationBudget::make(const std::string& name, size_t bytes) {
  ActivationMemory memory;
  if (bytes <= left_) {
    memory.heap_ = tensor::Buffer(bytes, memory_);
    prefer_huge_pages(memory.heap_.data(), bytes);
    left_ -= bytes;
    return memory;
  }
  const std::string path = base::join_path(folder_, absl::StrCat(name, "-", unique_part(), ".scratch.tmp"));
  auto scratch = base::make_scratch(env_, path, bytes);
  if (!scratch.ok()) {
    return annotate(scratch.status(), absl::StrCat("hiddenStatesBudget: ", bytes, " bytes of ", name,
                                                   " are more than it leaves, and go to a file"));
  }
  memory.scratch_ = *std::move(scratch);
  spilled_ += bytes;
  return memory;
}

StatusOr<HiddenStates> HiddenStates::make(ActivationBudget& budget, const std::string& name, int64_t count,
                                          int64_t length, int64_t hidden_size) {
  HiddenStates hidden;
  hidden.count_ = count;
  hidden.length_ = length;
  hidden.width_ = hidden_size;
  const size_t bytes = static_cast<size_t>(count * length * hidden_size) * sizeof(float);
  GQ_ASSIGN_OR_RETURN(hidden.memory_, budget.make(name, bytes));
  return hidden;
}

}  // namespace gridquant::stages
