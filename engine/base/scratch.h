// Memory whose pages the operating system may move to a file when it needs the room, and that is gone with the process,
// however that ends. Zeros at first.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::base {

class ScratchMemory {
 public:
  virtual ~ScratchMemory() = default;
  virtual std::span<std::byte> bytes() = 0;
  // The content stays, but need not be in memory until it is touched again. Thread-safe.
  virtual void release(size_t offset, size_t size) = 0;
};

// Room for all of it is taken on the disk at once: ResourceExhausted if there is not enough, and nothing is left of it.
// `path` is where the file would be seen; it has no name for longer than a moment. In an Env that is not the operating
// system's the file is made and removed, and the memory is memory.
StatusOr<std::unique_ptr<ScratchMemory>> make_scratch(Env& env, const std::string& path, size_t bytes);

}  // namespace gridquant::base
