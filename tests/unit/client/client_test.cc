// The client against a coordinator that loses requests and replies, is late, is away, comes back, or lies.
#include "coordinator/client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/client/errors.h"
#include "tests/unit/client/fake_coordinator.h"

namespace gridquant::client {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using Fault = FakeCoordinator::Fault;
using Kind = StreamStep<v1::WatchRunResponse>::Kind;

ClientOptions options_for(const FakeCoordinator& coordinator) {
  return {.address = coordinator.address(), .try_timeout_ms = 300, .unreachable_ms = 2'000, .reconnect_ms = 5'000};
}

v1::CancelRunRequest cancel() {
  v1::CancelRunRequest request;
  request.set_run("small-1");
  return request;
}

class LossTest : public testing::TestWithParam<Fault> {};

TEST_P(LossTest, AChangeIsMadeOnceHoweverOftenItIsAskedFor) {
  FakeCoordinator coordinator;
  coordinator.faults = {GetParam(), GetParam(), Fault::kNone};
  Client client(options_for(coordinator));
  ASSERT_TRUE(client.call(cancel()).ok());
  ASSERT_THAT(coordinator.ids, SizeIs(3));
  EXPECT_THAT(coordinator.ids, Each(coordinator.ids[0])) << "every try carries the id of the first";
  EXPECT_THAT(coordinator.ids[0], SizeIs(32));
  EXPECT_THAT(coordinator.changes, ElementsAre(std::pair(coordinator.ids[0], 1)));
}

INSTANTIATE_TEST_SUITE_P(Faults, LossTest, testing::Values(Fault::kRequestLost, Fault::kReplyLost, Fault::kSlow));

TEST(ClientTest, TwoCallsHaveTwoIdsAndAGivenIdIsKept) {
  FakeCoordinator coordinator;
  Client client(options_for(coordinator));
  ASSERT_TRUE(client.call(cancel()).ok());
  ASSERT_TRUE(client.call(cancel()).ok());
  v1::CancelRunRequest request = cancel();
  request.set_request_id("mine");
  ASSERT_TRUE(client.call(request).ok());
  EXPECT_NE(coordinator.ids[0], coordinator.ids[1]);
  EXPECT_EQ(coordinator.ids[2], "mine");
}

TEST(ClientTest, LateAnswersAreABoundedNumberOfTries) {
  FakeCoordinator coordinator;
  coordinator.faults = std::vector<Fault>(100, Fault::kSlow);
  Client client(options_for(coordinator));
  const auto answer = client.call(cancel());
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(coordinator.ids, SizeIs(3));
}

TEST(ClientTest, NobodyThereIsSaidWithTheAddressAfterTheBound) {
  std::string address;
  {
    FakeCoordinator gone;
    address = gone.address();
  }
  Client client({.address = address, .unreachable_ms = 300});
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = client.call(v1::GetRunRequest());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(answer.status().message()), AllOf(HasSubstr(address), HasSubstr("is it running")));
}

TEST(ClientTest, ACoordinatorThatIsRestartedInBetweenIsNoError) {
  FakeCoordinator coordinator;
  Client client(options_for(coordinator));
  ASSERT_TRUE(client.call(cancel()).ok());
  coordinator.stop();
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    coordinator.restart();
  });
  const auto answer = client.call(cancel());
  later.join();
  EXPECT_TRUE(answer.ok()) << answer.status();
}

TEST(ClientTest, RefusalsAreNotTriedAgainAndKeepTheirDetails) {
  FakeCoordinator coordinator;
  int calls = 0;
  coordinator.on_submit = [&calls](const v1::SubmitRequest&, v1::SubmitResponse&) {
    ++calls;
    v1::ErrorDetail detail;
    detail.set_hint("mend it");
    v1::Diagnostic* diagnostic = detail.add_diagnostics();
    diagnostic->set_code("GQ0103");
    diagnostic->set_line(7);
    v1::Status status;
    google::protobuf::Any* any = status.add_details();
    any->set_type_url("type.googleapis.com/gridquant.v1.ErrorDetail");
    any->set_value(detail.SerializeAsString());
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "1 mistake", status.SerializeAsString());
  };
  Client client(options_for(coordinator));
  const auto answer = client.call(v1::SubmitRequest());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(answer.status().message(), "1 mistake");
  const auto detail = error_detail(answer.status());
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->hint(), "mend it");
  ASSERT_THAT(detail->diagnostics(), SizeIs(1));
  EXPECT_EQ(detail->diagnostics(0).line(), 7);
  EXPECT_FALSE(error_detail(absl::InternalError("nothing beside it")).has_value());
}

TEST(ClientTest, AnAnswerThatIsTooLargeIsSaidToBe) {
  FakeCoordinator coordinator;
  size_t size = 32 << 20;
  coordinator.on_submit = [&size](const v1::SubmitRequest&, v1::SubmitResponse& answer) {
    answer.set_run(std::string(size, 'r'));
    return grpc::Status::OK;
  };
  Client client({.address = coordinator.address()});
  EXPECT_TRUE(client.call(v1::SubmitRequest()).ok()) << "gRPC's own limit is 4 MiB";
  size = 65 << 20;
  const auto answer = client.call(v1::SubmitRequest());
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(answer.status().message()), AllOf(HasSubstr(coordinator.address()), HasSubstr("too large")));
}

TEST(ClientTest, AnAddressWithoutAPortIsNotTried) {
  for (const char* address : {"localhost", "", ":7733", "host:", "host:0", "host:99999", "host:port"}) {
    Client client({.address = address});
    const Status status = client.call(v1::GetRunRequest()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("HOST:PORT, such as localhost:7733, not '" + std::string(address) + "'"));
  }
}

// All steps until the stream's end; sequence numbers of the events among them.
struct Watched {
  std::vector<uint64_t> events;
  std::vector<Kind> others;
  Status end;
};

Watched watch_all(Stream<v1::WatchRunResponse>& stream) {
  Watched watched;
  for (int i = 0; i < 1'000; ++i) {
    const auto step = stream.next(50);
    if (step.kind == Kind::kMessage) watched.events.push_back(step.message->event().sequence());
    if (step.kind == Kind::kCut || step.kind == Kind::kReconnected) watched.others.push_back(step.kind);
    if (step.kind == Kind::kEnded) {
      watched.end = step.status;
      return watched;
    }
  }
  watched.end = absl::InternalError("the stream did not end");
  return watched;
}

TEST(WatchTest, GoesOnAfterTheLastEventItHas) {
  FakeCoordinator coordinator;
  std::vector<uint64_t> asked;
  coordinator.on_watch = [&asked](int call, const v1::WatchRunRequest& request, auto& writer, auto&) {
    asked.push_back(request.after_sequence());
    const uint64_t first = call == 0 ? 1 : request.after_sequence();  // the second call repeats one
    for (uint64_t i = first; i < first + 3; ++i) writer.Write(FakeCoordinator::event(i));
    return call == 0 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down") : grpc::Status::OK;
  };
  Client client(options_for(coordinator));
  const Watched watched = watch_all(*client.watch(v1::WatchRunRequest()));
  EXPECT_TRUE(watched.end.ok()) << watched.end;
  EXPECT_THAT(watched.events, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(watched.others, ElementsAre(Kind::kCut, Kind::kReconnected));
  EXPECT_THAT(asked, ElementsAre(0, 3));
}

TEST(WatchTest, GoesOnWhenTheCoordinatorIsRestarted) {
  FakeCoordinator coordinator;
  std::atomic<bool> told = false;
  coordinator.on_watch = [&told](int call, const v1::WatchRunRequest& request, auto& writer, auto& context) {
    writer.Write(FakeCoordinator::event(request.after_sequence() + 1));
    told = true;
    while (call == 0 && !context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::OK;
  };
  Client client(options_for(coordinator));
  std::thread restart([&] {
    while (!told) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    coordinator.restart();
  });
  const Watched watched = watch_all(*client.watch(v1::WatchRunRequest()));
  restart.join();
  EXPECT_TRUE(watched.end.ok()) << watched.end;
  EXPECT_THAT(watched.events, ElementsAre(1, 2));
  EXPECT_THAT(watched.others, ElementsAre(Kind::kCut, Kind::kReconnected));
}

TEST(WatchTest, AGapIsAnErrorAndNoEventIsPassedOver) {
  FakeCoordinator coordinator;
  coordinator.on_watch = [](int, const v1::WatchRunRequest&, auto& writer, auto&) {
    for (const uint64_t i : {1, 2, 4}) writer.Write(FakeCoordinator::event(i));
    return grpc::Status::OK;
  };
  Client client(options_for(coordinator));
  const Watched watched = watch_all(*client.watch(v1::WatchRunRequest()));
  EXPECT_THAT(watched.events, ElementsAre(1, 2));
  EXPECT_EQ(watched.end.code(), absl::StatusCode::kDataLoss);
}

TEST(WatchTest, AStreamThatStaysCutGivesUpWithinItsBound) {
  FakeCoordinator coordinator;
  coordinator.on_watch = [](int call, const v1::WatchRunRequest&, auto& writer, auto&) {
    if (call == 0) writer.Write(FakeCoordinator::event(1));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "not now");
  };
  ClientOptions options = options_for(coordinator);
  options.reconnect_ms = 500;
  Client client(options);
  const auto begin = std::chrono::steady_clock::now();
  const Watched watched = watch_all(*client.watch(v1::WatchRunRequest()));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(watched.end.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(watched.others, ElementsAre(Kind::kCut));
}

TEST(WatchTest, MayBeLeftWhileItIsOpen) {
  FakeCoordinator coordinator;
  coordinator.on_watch = [](int, const v1::WatchRunRequest&, auto& writer, auto& context) {
    writer.Write(FakeCoordinator::event(1));
    while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  };
  Client client(options_for(coordinator));
  auto stream = client.watch(v1::WatchRunRequest());
  for (int i = 0; i < 100 && stream->next(50).kind != Kind::kMessage; ++i) {
  }
  EXPECT_EQ(stream->next(20).kind, Kind::kNothing);
}

TEST(LogsTest, EveryByteComesOnceThoughTheStreamIsCutWithinAPiece) {
  const std::string text = "first line\nsecond line\nthird line\n";
  FakeCoordinator coordinator;
  coordinator.on_logs = [&text](int call, const v1::ReadLogsRequest&, auto& writer) {
    const size_t piece = call == 0 ? 7 : 5;  // cut at other places
    const size_t end = call == 0 ? 14 : text.size();
    for (const char* stage : {"analyze", "plan"}) {
      for (size_t at = 0; at < end; at += piece) {
        v1::ReadLogsResponse message;
        message.set_stage(stage);
        message.set_attempt(1);
        message.set_offset(at);
        message.set_data(text.substr(at, std::min(piece, end - at)));
        writer.Write(message);
      }
    }
    return call == 0 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down") : grpc::Status::OK;
  };
  Client client(options_for(coordinator));
  const auto stream = client.logs(v1::ReadLogsRequest());
  std::map<std::string, std::string> have;
  for (int i = 0; i < 1'000; ++i) {
    const auto step = stream->next(50);
    if (step.kind == StreamStep<v1::ReadLogsResponse>::Kind::kEnded) {
      EXPECT_TRUE(step.status.ok()) << step.status;
      break;
    }
    if (step.message) have[step.message->stage()] += step.message->data();
  }
  EXPECT_THAT(have, ElementsAre(std::pair("analyze", text), std::pair("plan", text)));
}

}  // namespace
}  // namespace gridquant::client
