// Every call that changes something, against the real coordinator: with its request lost, its reply lost, both, come
// twice while the first one goes on, and again after a restart. It is done once, and every caller has the same answer.
#include <algorithm>
#include <functional>
#include <future>

#include "absl/time/clock.h"
#include "tests/unit/rpc/real_coordinator.h"
#include "tests/unit/rpc/wire.h"

namespace gridquant::rpc {
namespace {

using client::Client;
using Loss = Wire::Loss;
using testing::HasSubstr;
using Answer = StatusOr<std::string>;  // what of the response a caller goes on with

struct Change {
  std::string name;
  std::string record;  // that it leaves, once
  std::function<Answer(Client&, const std::string& id)> call;
  std::function<Answer(Client&, const std::string& id)> other;  // another request
};

template <class Request>
Answer run_call(Client& client, const std::string& id, const std::string& run) {
  Request request;
  request.set_request_id(id);
  request.set_run(run);
  const Status status = client.call(request).status();
  return status.ok() ? Answer("") : status;
}

Answer retry(Client& client, const std::string& id, const std::string& run) {
  v1::RetryRunRequest request;
  request.set_request_id(id);
  request.set_run(run);
  const auto answer = client.call(request);
  return answer.ok() ? Answer(answer->run()) : answer.status();
}

template <class Request>
Answer node_call(Client& client, const std::string& id, const std::string& node) {
  Request request;
  request.set_request_id(id);
  request.set_node(node);
  const Status status = client.call(request).status();
  return status.ok() ? Answer("") : status;
}

Answer set_queue(Client& client, const std::string& id, const std::string& queue) {
  v1::SetQueueRequest request;
  request.set_request_id(id);
  request.mutable_queue()->set_name(queue);
  request.mutable_queue()->set_cores(3);
  const Status status = client.call(request).status();
  return status.ok() ? Answer("") : status;
}

Answer collect(Client& client, const std::string& id, int64_t min_age_ms) {
  v1::CollectGarbageRequest request;
  request.set_request_id(id);
  request.set_min_age_ms(min_age_ms);
  const auto answer = client.call(request);
  return answer.ok() ? Answer(std::to_string(answer->removed_count()) + " removed") : answer.status();
}

constexpr const char* kNames[] = {"Submit",    "CancelRun", "RetryRun",    "PauseRun",   "ResumeRun",      "DeleteRun",
                                  "DrainNode", "UndrainNode", "ForgetNode", "SetQueue", "CollectGarbage"};

class OnceTest : public CoordinatorTest, public testing::WithParamInterface<const char*> {
 protected:
  // What the calls need: runs that wait, one that is paused, one that is over, nodes, an artifact of nobody.
  void prepare() {
    begin();
    waiting_ = submit();
    paused_ = submit();
    over_ = submit();
    const auto any = client();
    ASSERT_TRUE(run_call<v1::PauseRunRequest>(*any, "", paused_).ok());
    ASSERT_TRUE(run_call<v1::CancelRunRequest>(*any, "", over_).ok());
    join("node-a");
    join("node-b");
    ASSERT_TRUE(node_call<v1::DrainNodeRequest>(*any, "", "node-b").ok());
    std::filesystem::create_directories(garbage());
    if (GetParam() == std::string("ForgetNode")) wait_until_lost();
  }
  void wait_until_lost() const {
    for (int i = 0; i < 1'000; ++i) {
      const auto answer = client()->call(v1::ListNodesRequest());
      ASSERT_TRUE(answer.ok()) << answer.status();
      if (std::ranges::none_of(answer->nodes(), [](const v1::Node& node) { return node.alive(); })) return;
      absl::SleepFor(absl::Milliseconds(10));
    }
    FAIL() << "nodes that are silent are still alive";
  }

  Change change() const {
    const std::string name = GetParam();
    if (name == "Submit") {
      const auto call = [this](Client& client, const std::string& id, const std::string& text) {
        const auto answer = client.call(submission(id, text));
        return answer.ok() ? Answer(answer->run()) : answer.status();
      };
      return {name, "run_submitted", [=](Client& c, const std::string& id) { return call(c, id, kSmallPipeline); },
              [=](Client& c, const std::string& id) { return call(c, id, std::string(kSmallPipeline) + "\n"); }};
    }
    const auto of = [name](const char* record, auto call, auto what, auto other) {
      return Change{name, record, [=](Client& c, const std::string& id) { return call(c, id, what); },
                    [=](Client& c, const std::string& id) { return call(c, id, other); }};
    };
    using Text = std::string;
    if (name == "CancelRun") return of("run_cancelling", run_call<v1::CancelRunRequest>, waiting_, paused_);
    if (name == "RetryRun") return of("run_submitted", retry, over_, waiting_);
    if (name == "PauseRun") return of("run_paused", run_call<v1::PauseRunRequest>, waiting_, over_);
    if (name == "ResumeRun") return of("run_resumed", run_call<v1::ResumeRunRequest>, paused_, over_);
    if (name == "DeleteRun") return of("run_deleted", run_call<v1::DeleteRunRequest>, over_, waiting_);
    if (name == "DrainNode")
      return of("node_draining", node_call<v1::DrainNodeRequest>, Text("node-a"), Text("node-b"));
    if (name == "UndrainNode") {
      return of("node_undrained", node_call<v1::UndrainNodeRequest>, Text("node-b"), Text("node-a"));
    }
    if (name == "ForgetNode") {
      return of("node_forgotten", node_call<v1::ForgetNodeRequest>, Text("node-a"), Text("node-b"));
    }
    if (name == "SetQueue") return of("queue_changed", set_queue, Text("team"), Text("other"));
    return of("", collect, int64_t{0}, int64_t{1});
  }

  // How often it was done since `before`; a collection leaves no record, but what it removed is gone.
  void expect_once(const Change& change, int before) {
    if (change.record.empty()) {
      EXPECT_FALSE(std::filesystem::exists(garbage()));
    } else {
      EXPECT_EQ(records(change.record) - before, 1);
    }
  }
  std::string garbage() const { return control_->options().store + "/artifacts/plan-0123456789abcdef"; }
  int count(const Change& change) const { return change.record.empty() ? 0 : records(change.record); }

  std::string waiting_, paused_, over_;
};

TEST_P(OnceTest, ThoughRequestsAndRepliesAreLost) {
  prepare();
  const Change change = this->change();
  const int before = count(change);
  Wire wire(address_, {Loss::kRequest, Loss::kReply, Loss::kReply, Loss::kRequest, Loss::kNone});
  Client client(options(wire.address()));
  const Answer answer = change.call(client, "once");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(wire.lost_requests(), 2);
  EXPECT_EQ(wire.lost_replies(), 2);
  expect_once(change, before);
  const Answer again = change.call(client, "once");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, *answer);
  if (change.record.empty()) {
    EXPECT_EQ(*answer, "1 removed") << "the answer of the try that removed it";
  }
  expect_once(change, before);
}

TEST_P(OnceTest, ThoughItComesTwiceWhileTheFirstOneGoesOn) {
  prepare();
  const Change change = this->change();
  const int before = count(change);
  // The owner of the scheduler stands still, so that every one of them has arrived before any is looked at.
  absl::Notification go_on;
  ASSERT_TRUE(control_->core().look([&](const control::View&) { go_on.WaitForNotification(); }).ok());
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 4; ++i) {
    answers.push_back(std::async(std::launch::async, [&] { return change.call(*client(), "once"); }));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  go_on.Notify();
  const Answer first = answers[0].get();
  ASSERT_TRUE(first.ok()) << first.status();
  for (size_t i = 1; i < answers.size(); ++i) {
    const Answer one = answers[i].get();
    ASSERT_TRUE(one.ok()) << one.status();
    EXPECT_EQ(*one, *first);
  }
  expect_once(change, before);
}

TEST_P(OnceTest, ThoughTheCoordinatorIsRestarted) {
  prepare();
  const Change change = this->change();
  const int before = count(change);
  const Answer first = change.call(*client(), "once");
  ASSERT_TRUE(first.ok()) << first.status();
  restart();
  const Answer again = change.call(*client(), "once");
  ASSERT_TRUE(again.ok()) << again.status();
  if (!change.record.empty()) {
    EXPECT_EQ(*again, *first);
  }
  expect_once(change, before);
}

TEST_P(OnceTest, AnIdIsOfOneRequestOnlyAndMustBeThere) {
  prepare();
  const Change change = this->change();
  ASSERT_TRUE(change.call(*client(), "once").ok());
  const Answer other = change.other(*client(), "once");
  EXPECT_EQ(other.status().code(), absl::StatusCode::kAlreadyExists) << other.status();
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("the request id once was used for another request"));
  for (const std::string& bad : {std::string("with space"), std::string(129, 'x')}) {
    const Answer refused = change.call(*client(), bad);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << refused.status();
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("request_id"));
  }
}

INSTANTIATE_TEST_SUITE_P(Calls, OnceTest, testing::ValuesIn(kNames),
                         [](const auto& info) { return std::string(info.param); });

// A method without a request id could not be in the list above: the services have no other ones that change something.
TEST(OnceListTest, NoCallThatChangesSomethingIsLeftOut) {
  std::vector<std::string> with_id;
  for (const auto* service : {v1::SubmitRequest::descriptor()->file()->FindServiceByName("PipelineService"),
                              v1::DrainNodeRequest::descriptor()->file()->FindServiceByName("NodeService")}) {
    ASSERT_NE(service, nullptr);
    for (int i = 0; i < service->method_count(); ++i) {
      const auto* method = service->method(i);
      const bool looks = method->name().starts_with("Get") || method->name().starts_with("List") ||
                         method->name().starts_with("Watch") || method->name().starts_with("Read") ||
                         method->name().starts_with("Explain") || method->name() == "Validate" ||
                         method->name() == "Session";
      EXPECT_EQ(method->input_type()->FindFieldByName("request_id") == nullptr, looks) << method->full_name();
      if (!looks) with_id.push_back(std::string(method->name()));
    }
  }
  EXPECT_THAT(with_id, testing::UnorderedElementsAreArray(kNames));
}

}  // namespace
}  // namespace gridquant::rpc
