// Memory that processes of one machine share: a file without a name in any folder, of which only the touched pages
// count. The others find it through /proc, which needs no right but to be the same user. Not here: agreeing on it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace gridquant::comm {

class SharedFile {
 public:
  // What another process needs to open it; plain bytes.
  struct Address {
    int64_t process = 0;
    int64_t descriptor = -1;
    std::array<char, 64> name{};  // told apart from any other file's
  };
  // For as long as the one who made it lives; its memory lives as long as anybody has it.
  static StatusOr<SharedFile> make(size_t bytes);
  const Address& address() const { return address_; }
  const SharedMemory& memory() const { return memory_; }

  // Unavailable: it is not to be seen from here, as from another container.
  static StatusOr<SharedMemory> open(const Address& address, size_t bytes);

 private:
  class Descriptor {
   public:
    explicit Descriptor(int number = -1) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
      std::swap(number_, other.number_);
      return *this;
    }
    ~Descriptor();

   private:
    int number_;
  };

  Address address_;
  Descriptor descriptor_;
  SharedMemory memory_;
};

}  // namespace gridquant::comm
