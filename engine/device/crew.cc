// Loops over processes: one counter of tasks and meetings of all members, in shared memory. Linux's futex lets a
// member sleep until another wakes it, also where there are more members than cores.
#include "engine/device/crew.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cassert>
#include <climits>
#include <ctime>
#include <iterator>
#include <thread>
#include <utility>

#include "engine/device/spin.h"

namespace gridquant::device {
namespace {

using std::chrono::steady_clock;

constexpr size_t kPage = 4096;
constexpr std::chrono::microseconds kSpin{100};
constexpr std::chrono::milliseconds kSleep{10};  // then it is told again that this member is alive

size_t round_up(size_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

void sleep_on(const std::atomic<uint32_t>& word, uint32_t value) {
  const timespec most{0, std::chrono::nanoseconds(kSleep).count()};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, &most, nullptr, 0);
}

void wake_all(const std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

Crew::Crew(Options options)
    : options_(std::move(options)),
      spin_(static_cast<unsigned>(options_.threads) <= std::thread::hardware_concurrency()
                ? kSpin
                : std::chrono::microseconds(0)),
      shared_(reinterpret_cast<Shared*>(options_.memory.data())),
      arena_(options_.memory.subspan(round_up(sizeof(Shared)))) {}

void Crew::begin_loop() {
  meet([](Shared& shared) { shared.next.store(0); });
}

void Crew::end_loop() {
  meet([](Shared&) {});
}

bool Crew::all(bool own) {
  if (!own) shared_->against.store(1);
  meet([](Shared&) {});
  const bool all = shared_->against.load() == 0;
  meet([](Shared& shared) { shared.against.store(0); });
  return all;
}

void Crew::meet(void (*last)(Shared&)) {
  const uint32_t round = shared_->round.load();  // does not change before this member has come
  if (lost()) return;
  if (shared_->arrived.fetch_add(1) + 1 == static_cast<uint32_t>(options_.members)) {
    shared_->arrived.store(0);
    last(*shared_);
    publish(shared_->round, round + 1);
  } else {
    wait_while(shared_->round, round);
  }
}

void Crew::publish(std::atomic<uint32_t>& word, uint32_t value) {
  word.store(value);
  if (shared_->sleepers.load() != 0) wake_all(word);
}

// A sleeper counts itself before it looks for the last time (the kernel does), and whoever publishes looks for sleepers
// after the change: one of the two sees the other.
void Crew::wait_while(const std::atomic<uint32_t>& word, uint32_t value) {
  if (spin_until(spin_, [&] { return word.load() != value; })) return;
  const auto end = steady_clock::now() + options_.timeout;
  while (word.load() == value && !lost()) {
    shared_->sleepers.fetch_add(1);
    sleep_on(word, value);
    shared_->sleepers.fetch_sub(1);
    if ((options_.waiting && !options_.waiting()) || steady_clock::now() > end) shared_->lost.store(1);
  }
}

Crew::Arena::Arena(std::span<std::byte> memory) : begin_(memory.data()), free_{{0, memory.size()}} {}

void* Crew::Arena::do_allocate(size_t bytes, size_t alignment) {
  assert(alignment <= kPage);
  const size_t size = round_up(bytes);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [offset, room] = *it;
    if (room < size) continue;
    free_.erase(it);
    if (room > size) free_.emplace(offset + size, room - size);
    return begin_ + offset;
  }
  return std::pmr::null_memory_resource()->allocate(bytes, alignment);  // std::bad_alloc
}

void Crew::Arena::do_deallocate(void* pointer, size_t bytes, size_t) {
  auto it = free_.emplace(static_cast<size_t>(static_cast<std::byte*>(pointer) - begin_), round_up(bytes)).first;
  if (const auto next = std::next(it); next != free_.end() && it->first + it->second == next->first) {
    it->second += next->second;
    free_.erase(next);
  }
  if (it == free_.begin()) return;
  if (const auto before = std::prev(it); before->first + before->second == it->first) {
    before->second += it->second;
    free_.erase(it);
  }
}

}  // namespace gridquant::device
