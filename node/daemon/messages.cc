// The inbox: a deque and an eventfd.
#include "node/daemon/messages.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace gridquant::node {

Inbox::Inbox() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Inbox::~Inbox() {
  if (fd_ >= 0) ::close(fd_);
}

bool Inbox::push(Message message) {
  {
    absl::MutexLock lock(&mutex_);
    if (messages_.size() >= kCapacity) return false;
    messages_.push_back(std::move(message));
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(fd_, &one, sizeof(one));
  return true;
}

std::vector<Message> Inbox::take() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t read = ::read(fd_, &count, sizeof(count));
  absl::MutexLock lock(&mutex_);
  std::vector<Message> all(std::make_move_iterator(messages_.begin()), std::make_move_iterator(messages_.end()));
  messages_.clear();
  return all;
}

}  // namespace gridquant::node
