// The agent core's table, row by row, and all orders of a few inputs.
#include "node/agent/agent_core.h"

#include <set>

#include <gtest/gtest.h>

namespace gridquant::node {
namespace {

// The effects as text, to compare.
std::vector<std::string> shown(const std::vector<AgentEffect>& effects) {
  std::vector<std::string> out;
  for (const AgentEffect& effect : effects) {
    if (const auto* launch = std::get_if<LaunchProcess>(&effect))
      out.push_back("launch " + std::to_string(launch->epoch));
    if (const auto* signal = std::get_if<SignalProcess>(&effect)) out.push_back(signal->kill ? "KILL" : "TERM");
    if (std::get_if<ReportStarted>(&effect) != nullptr) out.push_back("started");
    if (const auto* finished = std::get_if<ReportFinished>(&effect)) {
      out.push_back("finished " + std::to_string(finished->exit_code));
    }
  }
  return out;
}

using Effects = std::vector<std::string>;

TEST(AgentCoreTest, StartsReportsAndForgets) {
  AgentCore agent;
  EXPECT_EQ(shown(agent.step(StartRequested{1}, 0)), Effects{"launch 1"});
  EXPECT_EQ(shown(agent.step(StartRequested{1}, 0)), Effects{}) << "twice";
  EXPECT_EQ(shown(agent.step(ProcessStarted{1, 42}, 0)), Effects{"started"});
  EXPECT_EQ(shown(agent.step(ProcessStarted{1, 42}, 0)), Effects{});
  EXPECT_EQ(agent.running(), 1u);
  EXPECT_EQ(shown(agent.step(ProcessExited{1, 10}, 0)), Effects{"finished 10"});
  EXPECT_EQ(shown(agent.step(ProcessExited{1, 10}, 0)), Effects{});
  EXPECT_EQ(agent.running(), 0u);
  EXPECT_EQ(shown(agent.step(StartRequested{1}, 0)), Effects{"finished 10"}) << "a finished attempt never starts again";
  EXPECT_EQ(shown(agent.step(StopRequested{1, 5}, 0)), Effects{"finished 10"});
}

TEST(AgentCoreTest, TermThenKillThenKillAgain) {
  AgentCore agent(AgentLimits{.kill_repeat_ms = 50});
  agent.step(StartRequested{1}, 0);
  agent.step(ProcessStarted{1, 42}, 0);
  EXPECT_EQ(agent.next_timer_ms(), std::nullopt);
  EXPECT_EQ(shown(agent.step(StopRequested{1, 100}, 10)), Effects{"TERM"});
  EXPECT_EQ(shown(agent.step(StopRequested{1, 100}, 20)), Effects{}) << "its grace runs";
  EXPECT_EQ(agent.next_timer_ms(), 110);
  EXPECT_EQ(shown(agent.step(TimerFired{}, 109)), Effects{});
  EXPECT_EQ(shown(agent.step(TimerFired{}, 110)), Effects{"KILL"});
  EXPECT_EQ(agent.next_timer_ms(), 160);
  EXPECT_EQ(shown(agent.step(TimerFired{}, 160)), Effects{"KILL"});
  EXPECT_EQ(agent.running(), 1u) << "until it is verified gone";
  EXPECT_EQ(shown(agent.step(ProcessExited{1, 137}, 170)), Effects{"finished 137"});
  EXPECT_EQ(agent.next_timer_ms(), std::nullopt);
}

TEST(AgentCoreTest, NoGraceKillsAtOnceAlsoAfterTerm) {
  AgentCore agent;
  agent.step(StartRequested{1}, 0);
  agent.step(ProcessStarted{1, 42}, 0);
  agent.step(StopRequested{1, 1'000}, 0);
  EXPECT_EQ(shown(agent.step(StopRequested{1, 0}, 1)), Effects{"KILL"});
  EXPECT_EQ(shown(agent.step(StopRequested{1, 0}, 1)), Effects{});
}

TEST(AgentCoreTest, AStopThatOvertakesTheStartIsKept) {
  AgentCore agent;
  EXPECT_EQ(shown(agent.step(StopRequested{1, 100}, 0)), Effects{"finished 130"});
  EXPECT_EQ(shown(agent.step(StartRequested{1}, 0)), Effects{"finished 130"});
  agent.step(StartRequested{2}, 0);
  EXPECT_EQ(shown(agent.step(StopRequested{2, 100}, 0)), Effects{});
  EXPECT_EQ(shown(agent.step(ProcessStarted{2, 43}, 5)), (Effects{"started", "TERM"}));
}

TEST(AgentCoreTest, AFailedLaunchIsAnIoErrorAndNoRoomARefusal) {
  AgentCore agent(AgentLimits{.slots = 1});
  agent.step(StartRequested{1}, 0);
  EXPECT_EQ(shown(agent.step(StartRequested{2}, 0)), Effects{"finished 133"});
  EXPECT_EQ(shown(agent.step(StartFailed{1, "no such file"}, 0)), Effects{"finished 132"});
  EXPECT_EQ(shown(agent.step(StartRequested{3}, 0)), Effects{"launch 3"});
}

TEST(AgentCoreTest, InAnyOrderOneLaunchAndOneEnd) {
  const std::vector<AgentInput> inputs = {StartRequested{1},     StopRequested{1, 10}, ProcessStarted{1, 42},
                                          ProcessExited{1, 143}, StopRequested{1, 0},  TimerFired{}};
  for (int order = 0; order < 6 * 6 * 6 * 6 * 6 * 6; ++order) {
    AgentCore agent;
    int launches = 0, rest = order;
    bool process = false;
    std::set<int> exit_codes;
    for (int i = 0; i < 6; ++i, rest /= 6) {
      const AgentInput& input = inputs[static_cast<size_t>(rest % 6)];
      // A process only starts or ends if it was launched.
      const bool about_process =
          std::holds_alternative<ProcessStarted>(input) || std::holds_alternative<ProcessExited>(input);
      if (about_process && !process) continue;
      if (std::holds_alternative<ProcessExited>(input)) process = false;
      for (const AgentEffect& effect : agent.step(input, 100 * i)) {
        if (std::holds_alternative<LaunchProcess>(effect)) ++launches, process = true;
        if (const auto* finished = std::get_if<ReportFinished>(&effect)) exit_codes.insert(finished->exit_code);
      }
      ASSERT_EQ(agent.running(), process ? 1u : 0u) << order;
    }
    ASSERT_LE(launches, 1) << order;
    ASSERT_LE(exit_codes.size(), 1u) << "what was reported once is never reported otherwise, order " << order;
  }
}

}  // namespace
}  // namespace gridquant::node
