// The event stream of a run over gRPC: gap-free, in order, from any number on, also of a coordinator that was
// restarted.
#include "tests/unit/rpc/real_coordinator.h"

namespace gridquant::rpc {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;

struct Events {
  std::vector<uint64_t> numbers;
  std::vector<std::string> types;
  grpc::Status status;
};

class EventsTest : public CoordinatorTest {
 protected:
  Events watch(const std::string& run, uint64_t after, bool follow = false) const {
    const auto stub = v1::PipelineService::NewStub(channel());
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::WatchRunRequest request;
    request.set_run(run);
    request.set_after_sequence(after);
    request.set_no_follow(!follow);
    const auto stream = stub->WatchRun(&context, request);
    Events events;
    v1::WatchRunResponse response;
    while (stream->Read(&response)) {
      if (!response.has_event()) continue;
      events.numbers.push_back(response.event().sequence());
      events.types.push_back(response.event().type());
    }
    events.status = stream->Finish();
    return events;
  }
  void cancel(const std::string& run) const {
    v1::CancelRunRequest request;
    request.set_run(run);
    ASSERT_TRUE(client()->call(request).ok());
  }
  // Of a run that others have come between.
  std::string eventful_run() {
    const std::string run = submit(), other = submit();
    v1::PauseRunRequest pause;
    pause.set_run(run);
    EXPECT_TRUE(client()->call(pause).ok());
    cancel(other);
    v1::ResumeRunRequest resume;
    resume.set_run(run);
    EXPECT_TRUE(client()->call(resume).ok());
    return run;
  }
};

TEST_F(EventsTest, FromAnyNumberOnAlsoAfterARestart) {
  begin();
  const std::string run = eventful_run();
  cancel(run);
  const Events whole = watch(run, 0);
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  ASSERT_GE(whole.numbers.size(), 6u);
  EXPECT_EQ(whole.types.front(), "run_submitted");
  EXPECT_EQ(whole.types.back(), "run_finished");
  for (const bool restarted : {false, true}) {
    if (restarted) restart();
    for (uint64_t after = 0; after <= whole.numbers.size(); ++after) {
      const Events rest = watch(run, after, /*follow=*/true);
      EXPECT_TRUE(rest.status.ok()) << rest.status.error_message();
      std::vector<uint64_t> expected;
      for (uint64_t number = after + 1; number <= whole.numbers.size(); ++number) expected.push_back(number);
      EXPECT_THAT(rest.numbers, ElementsAreArray(expected)) << "after " << after;
      EXPECT_THAT(rest.types, ElementsAreArray(whole.types.begin() + static_cast<long>(after), whole.types.end()));
    }
  }
  const Events none = watch(run, whole.numbers.size() + 1);
  EXPECT_EQ(none.status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_THAT(none.status.error_message(), HasSubstr("there is none after"));
  EXPECT_EQ(watch("nothing-1", 0).status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(EventsTest, AWatcherIsToldWhatHappensAndEndsWithTheRun) {
  begin();
  const std::string run = eventful_run();
  const size_t before = watch(run, 0).numbers.size();
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    cancel(run);
  });
  const Events all = watch(run, before, /*follow=*/true);
  later.join();
  EXPECT_TRUE(all.status.ok()) << all.status.error_message();
  ASSERT_FALSE(all.numbers.empty());
  EXPECT_EQ(all.numbers.front(), before + 1);
  EXPECT_EQ(all.types.back(), "run_finished");
}

TEST_F(EventsTest, NothingIsAcknowledgedThatIsNotOnDisk) {
  begin();
  const std::string run = submit();
  EXPECT_EQ(records("run_submitted"), 1) << "as soon as it is answered";
  restart();
  v1::GetRunRequest request;
  request.set_run(run);
  EXPECT_TRUE(client()->call(request).ok());
}

TEST_F(EventsTest, ASecondCoordinatorOnTheSameStateIsRefused) {
  begin();
  control::ControlOptions options;
  options.workdir = options.store = root_ + "/work";
  control::Control second(options);
  const Status refused = second.open(base::system_clock());
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("is in use by process " + std::to_string(::getpid())));
  options.workdir = root_ + "/elsewhere";  // another state, the same store
  control::Control third(options);
  EXPECT_EQ(third.open(base::system_clock()).code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace gridquant::rpc
