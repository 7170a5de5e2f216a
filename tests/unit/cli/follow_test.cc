// A coordinator's events as people see them, and its messages as the runs that the verbs show.
#include "cli/follow.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/remote.h"
#include "tests/unit/client/fake_coordinator.h"

namespace gridquant::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

v1::Run two_stages() {
  v1::Run run;
  run.set_id("small-1");
  run.set_pipeline("small");
  run.set_state(v1::RUN_STATE_RUNNING);
  for (const char* name : {"analyze", "plan"}) {
    v1::Stage* stage = run.add_stages();
    stage->set_name(name);
    stage->set_uses(name);
  }
  return run;
}

v1::WatchRunResponse event(uint64_t sequence, int64_t at_ms, const std::string& type, const std::string& stage,
                           const std::string& body, v1::StageState state = v1::STAGE_STATE_UNSPECIFIED) {
  v1::WatchRunResponse message;
  v1::Event* event = message.mutable_event();
  event->set_sequence(sequence);
  event->set_at_ms(at_ms);
  event->set_type(type);
  event->set_stage(stage);
  event->set_body_json(body);
  event->set_stage_state(state);
  event->set_run_state(type == "run_finished" ? v1::RUN_STATE_SUCCEEDED : v1::RUN_STATE_RUNNING);
  return message;
}

std::vector<v1::WatchRunResponse> story() {
  return {
      event(1, 0, "run_submitted", "", "{}"),
      event(2, 10, "stage_looking", "analyze", "{}", v1::STAGE_STATE_LOOKING),
      event(3, 20, "stage_cached", "analyze", "{}", v1::STAGE_STATE_SUCCEEDED),
      event(4, 30, "stage_ready", "plan", "{}", v1::STAGE_STATE_READY),
      event(5, 40, "attempt_granted", "plan", R"({"node":"a","epoch":7,"members":[{"node":"a","ranks":1}]})",
            v1::STAGE_STATE_RUNNING),
      event(6, 50, "attempt_started", "plan", R"({"epoch":7})", v1::STAGE_STATE_RUNNING),
      event(7, 1040, "attempt_finished", "plan",
            R"({"epoch":7,"outcome":"retry","message":"the node is lost","notBeforeMs":3040})",
            v1::STAGE_STATE_WAITING),
      event(8, 3040, "stage_ready", "plan", "{}", v1::STAGE_STATE_READY),
      event(9, 3050, "attempt_granted", "plan",
            R"({"node":"b","epoch":8,"members":[{"node":"b","ranks":2},{"node":"c","ranks":1}]})",
            v1::STAGE_STATE_RUNNING),
      event(10, 5050, "attempt_finished", "plan", R"({"epoch":8,"outcome":"succeeded"})", v1::STAGE_STATE_SUCCEEDED),
      event(11, 5060, "run_finished", "", R"({"state":"succeeded","reason":""})"),
  };
}

TEST(FollowTest, TheEventsReadAsARunOfThisMachineDoesWithItsNodes) {
  std::ostringstream text;
  const auto output = make_plain_output(text);
  const v1::Run run = two_stages();
  EventTeller teller(run, *output);
  for (const auto& message : story()) teller.tell(message);
  EXPECT_EQ(text.str(),
            "run small-1\n"
            "analyze  cached\n"
            "plan     started on a\n"
            "plan     the node is lost; again in 2.0 s\n"
            "plan     attempt 2 on b (2 ranks), c (1 rank)\n"
            "plan     done in 2.0 s\n"
            "run small-1 succeeded\n");
}

TEST(FollowTest, ProgressWarningsPausesAndBrokenBodiesAreTold) {
  std::ostringstream text;
  const auto output = make_plain_output(text);
  const v1::Run run = two_stages();
  EventTeller teller(run, *output);
  v1::WatchRunResponse message;
  message.mutable_progress()->set_stage("plan");
  message.mutable_progress()->set_kind("progress");
  message.mutable_progress()->set_done(3);
  message.mutable_progress()->set_total(10);
  message.mutable_progress()->set_unit("blocks");
  teller.tell(message);
  message.mutable_progress()->set_kind("warning");
  message.mutable_progress()->set_message("little text");
  teller.tell(message);
  teller.tell(event(1, 0, "run_paused", "", "{}"));
  teller.tell(event(2, 0, "stage_skipped", "plan", R"({"reason":7})", v1::STAGE_STATE_SKIPPED));
  teller.tell(event(3, 0, "run_resumed", "", "no JSON"));
  EXPECT_THAT(text.str(), AllOf(HasSubstr("blocks 3/10"), HasSubstr("warning: little text"), HasSubstr("paused"),
                                HasSubstr("event 2 (stage_skipped) has an unknown form"), HasSubstr("resumed")));
}

class Presses final : public InterruptSource {
 public:
  explicit Presses(int after) : after_(after) {}
  int wake_fd() const override { return -1; }
  int take() override { return after_-- == 0 ? 1 : 0; }

 private:
  int after_;
};

TEST(FollowTest, ACutConnectionIsToldAndNothingIsToldTwice) {
  client::FakeCoordinator coordinator;
  coordinator.on_watch = [](int call, const v1::WatchRunRequest& request, auto& writer, auto&) {
    for (const auto& message : story()) {
      if (message.event().sequence() <= request.after_sequence()) continue;
      if (call == 0 && message.event().sequence() > 6) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "down");
      writer.Write(message);
    }
    return grpc::Status::OK;
  };
  client::Client client({.address = coordinator.address()});
  std::ostringstream text;
  const auto output = make_plain_output(text);
  Presses never(-1);
  const Followed followed = follow_run(client, two_stages(), *output, never);
  EXPECT_TRUE(followed.status.ok()) << followed.status;
  EXPECT_FALSE(followed.left);
  EXPECT_THAT(text.str(), AllOf(HasSubstr("started on a\nthe connection to the coordinator was lost"),
                                HasSubstr("connected again\nplan     the node is lost"),
                                HasSubstr("run small-1 succeeded")));
}

TEST(FollowTest, AnInterruptLeavesTheRun) {
  client::FakeCoordinator coordinator;
  coordinator.on_watch = [](int, const v1::WatchRunRequest&, auto& writer, auto& context) {
    writer.Write(story()[0]);
    while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  };
  client::Client client({.address = coordinator.address()});
  std::ostringstream text;
  const auto output = make_plain_output(text);
  Presses soon(3);
  EXPECT_TRUE(follow_run(client, two_stages(), *output, soon).left);
  EXPECT_TRUE(coordinator.ids.empty()) << "nothing was cancelled";
}

TEST(RemoteTest, ARunOfACoordinatorIsSeenAsOneOfAWorkFolder) {
  v1::Run run = two_stages();
  run.set_paused(true);
  run.set_params_json(R"({"bits":4})");
  run.mutable_stages(1)->set_state(v1::STAGE_STATE_FAILED);
  run.mutable_stages(1)->set_artifact_folder("/a/plan");
  v1::Attempt* attempt = run.mutable_stages(1)->add_attempts();
  attempt->set_number(1);
  attempt->set_node("a");
  attempt->set_exit_code(11);
  const RunView view = view_of(run);
  EXPECT_EQ(view.state, "running");
  EXPECT_EQ(view.run.state, sched::RunState::kRunning);
  EXPECT_EQ(view.run.pipeline.params["bits"], 4);
  EXPECT_EQ(view.run.stages[1].state, sched::StageState::kFailed);
  EXPECT_EQ(view.run.stages[1].attempts[0].exit_code, 11);
  EXPECT_EQ(view.artifacts.at("plan"), "/a/plan");
  EXPECT_THAT(view.notes, ElementsAre(HasSubstr("gridquant resume small-1")));
  EXPECT_THAT(std::string(with_stage(view, "quantize").status().message()), HasSubstr("it has analyze, plan"));
}

TEST(RemoteTest, EveryStateHasTheSchedulersName) {
  for (int i = 0; i <= static_cast<int>(sched::RunState::kInterrupted); ++i) {
    EXPECT_EQ(word_of(static_cast<v1::RunState>(i + 1)), sched::name_of(static_cast<sched::RunState>(i)));
  }
  for (int i = 0; i <= static_cast<int>(sched::StageState::kCancelled); ++i) {
    EXPECT_EQ(word_of(static_cast<v1::StageState>(i + 1)), sched::name_of(static_cast<sched::StageState>(i)));
  }
}

TEST(RemoteTest, MistakesAreShownWithTheLineOfTheFileThatWasSubmitted) {
  google::protobuf::RepeatedPtrField<v1::Diagnostic> from;
  v1::Diagnostic* diagnostic = from.Add();
  diagnostic->set_code("GQ0103");
  diagnostic->set_file("bad.yaml");
  diagnostic->set_line(2);
  diagnostic->set_column(3);
  diagnostic->set_length(4);
  diagnostic->set_message("unknown key 'need'");
  diagnostic->set_hint("did you mean 'needs'?");
  EXPECT_EQ(render(diagnostics_of(from), {"bad.yaml", "first\n  need: x\n", "/"}, false),
            "bad.yaml:2:3: error[GQ0103]: unknown key 'need'\n"
            "   2 |   need: x\n"
            "     |   ^~~~\n"
            "  hint: did you mean 'needs'?\n");
}

}  // namespace
}  // namespace gridquant::cli
