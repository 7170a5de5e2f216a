// signalfd(2).
#include "cli/interrupts.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace gridquant::cli {

SignalInterrupts::SignalInterrupts() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, &before_);
  fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

SignalInterrupts::~SignalInterrupts() {
  take();  // what came while the last workers ended has been answered by their end
  if (fd_ >= 0) ::close(fd_);
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

int SignalInterrupts::take() {
  int count = 0;
  signalfd_siginfo info;
  while (fd_ >= 0 && ::read(fd_, &info, sizeof(info)) == sizeof(info)) ++count;
  return count;
}

}  // namespace gridquant::cli
