// Ctrl-C and its relatives as something to wait for, while this object lives: SIGINT, SIGTERM and SIGHUP end nothing by
// themselves then. No handler, no global: the signals are blocked and read from a descriptor.
#pragma once

#include <signal.h>

#include "cli/driver.h"

namespace gridquant::cli {

class SignalInterrupts final : public InterruptSource {
 public:
  SignalInterrupts();
  ~SignalInterrupts() override;
  SignalInterrupts(const SignalInterrupts&) = delete;
  SignalInterrupts& operator=(const SignalInterrupts&) = delete;
  int wake_fd() const override { return fd_; }
  int take() override;

 private:
  int fd_ = -1;
  sigset_t before_;
};

}  // namespace gridquant::cli
