// The transition table in record.h is what apply() does: every pair of state and record is tried.
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/unit/sched/world.h"

namespace gridquant::sched {
namespace {

constexpr StageState kStates[] = {StageState::kPending, StageState::kLooking, StageState::kReady,
                                  StageState::kRunning, StageState::kWaiting, StageState::kSucceeded,
                                  StageState::kFailed,  StageState::kSkipped, StageState::kCancelled};
constexpr RecordType kTypes[] = {RecordType::kStageLooking,    RecordType::kStageCached,    RecordType::kStageReady,
                                 RecordType::kStageSkipped,    RecordType::kStageFailed,    RecordType::kStageCancelled,
                                 RecordType::kStageReset,      RecordType::kAttemptGranted, RecordType::kAttemptStarted,
                                 RecordType::kAttemptStopping, RecordType::kAttemptFinished};

using Transitions = std::map<std::pair<std::string, std::string>, std::set<std::string>>;

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

Transitions documented() {
  std::ifstream header(std::string(GRIDQUANT_SOURCE_DIR) + "/coordinator/sched/record.h");
  Transitions table;
  std::string line;
  while (std::getline(header, line)) {
    if (line.rfind("// | ", 0) != 0 || line.rfind("// | from", 0) == 0) continue;
    std::stringstream cells(line.substr(4));
    std::string from, record, to, one;
    std::getline(cells, from, '|');
    std::getline(cells, record, '|');
    std::getline(cells, to, '|');
    std::stringstream targets(to.substr(0, to.find('(')));
    while (std::getline(targets, one, ',')) table[{trimmed(from), trimmed(record)}].insert(trimmed(one));
  }
  return table;
}

// A state with one stage in state `from`, with an attempt of epoch 1 behind it.
State prepared(StageState from) {
  World world;
  world.add_node();
  world.submit(pipeline({stage("a")}));
  State state = world.scheduler.state();
  Stage& only = state.runs.at("r").stages[0];
  only.state = from;
  only.attempts.push_back(Attempt{.number = 1,
                                  .epoch = 1,
                                  .node = "n",
                                  .ranks = 1,
                                  .stopping = {},
                                  .outcome = {},
                                  .error_code = {},
                                  .message = {}});
  state.last_epoch = 1;
  return state;
}

TEST(TransitionsTest, ApplyDoesWhatTheTableSays) {
  Transitions observed;
  for (const StageState from : kStates) {
    for (const RecordType type : kTypes) {
      const uint64_t epoch = type == RecordType::kAttemptGranted ? 2 : 1;
      const bool finished = type == RecordType::kAttemptFinished;
      const std::set<std::string> outcomes =
          finished ? std::set<std::string>{"succeeded", "failed", "retry", "remake", "cancelled", "interrupted"}
                   : std::set<std::string>{""};
      for (const std::string& outcome : outcomes) {
        State state = prepared(from);
        const std::string before = to_text(state);
        const Record record{type, 5, "r", "a", {{"epoch", epoch}, {"outcome", outcome}, {"node", "n"}}};
        if (apply(state, record).ok()) {
          observed[{name_of(from), name_of(type)}].insert(name_of(state.runs.at("r").stages[0].state));
        } else {
          EXPECT_EQ(to_text(state), before) << "a refused record changed something";
        }
      }
    }
  }
  EXPECT_EQ(observed, documented());
}

TEST(TransitionsTest, RecordsThatFitNothingAreRefused) {
  State state = prepared(StageState::kRunning);
  const std::string before = to_text(state);
  const Record bad[] = {
      {RecordType::kAttemptFinished, 5, "r", "a", {{"epoch", 9}, {"outcome", "failed"}}},  // another epoch
      {RecordType::kAttemptFinished, 5, "r", "a", {{"epoch", 1}, {"outcome", "odd"}}},
      {RecordType::kAttemptFinished, 5, "r", "a", nlohmann::json::object()},
      {RecordType::kStageReady, 5, "r", "b", nlohmann::json::object()},
      {RecordType::kStageReady, 5, "x", "a", nlohmann::json::object()},
      {RecordType::kRunFinished, 5, "r", "", {{"state", "odd"}}},
      {RecordType::kRunSubmitted, 5, "q", "", {{"pipeline", {{"name", 1}}}}},
      {RecordType::kNodeChanged, 5, "", "", nlohmann::json::object()},
  };
  for (const Record& record : bad) {
    const Status status = apply(state, record);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << to_json(record).dump();
    EXPECT_EQ(to_text(state), before);
  }
}

TEST(TransitionsTest, RecordsSurviveTheirJson) {
  for (const RecordType type : kTypes) {
    const Record record{type, 12, "run", "stage", {{"a", 1}}};
    const auto back = record_from_json(nlohmann::json::parse(to_json(record).dump()));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(to_json(*back), to_json(record));
  }
  EXPECT_FALSE(record_from_json({{"type", "odd"}}).ok());
  EXPECT_FALSE(record_from_json(nlohmann::json::parse("{", nullptr, false)).ok());
}

}  // namespace
}  // namespace gridquant::sched
