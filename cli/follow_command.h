// What `watch` and `submit --watch` share: following a run or a batch in the terminal, and how it ends.
#pragma once

#include <string>

#include "cli/follow.h"

namespace gridquant::cli {

struct Invocation;

class FollowCommand {
 public:
  FollowCommand(Invocation& invocation, client::Client& client, InterruptSource& interrupts, std::string format)
      : invocation_(invocation), client_(client), interrupts_(interrupts), format_(std::move(format)) {}

  // Prints, and sets the exit code. `id` is a run's or a batch's; "": the latest run.
  // `after`: of one run, what comes after the event of this number.
  void execute(const std::string& id, uint64_t after = 0) const;

 private:
  Status follow(const std::string& id, uint64_t after) const;
  Status follow_one(const v1::Run& run, RunOutput& output, uint64_t after) const;
  Status follow_many(const std::string& batch, RunOutput& output) const;
  void leave(const std::string& id) const;
  void show_report(const v1::Run& run) const;

  Invocation& invocation_;
  client::Client& client_;
  InterruptSource& interrupts_;
  const std::string format_;
};

}  // namespace gridquant::cli
