// The coordinator's server: health, reflection, what it refuses and how, cut links. What calls mean: once_test.cc.
#include "tests/unit/rpc/real_coordinator.h"

#include <grpcpp/generic/generic_stub.h>

#include "coordinator/auth/credentials.h"
#include "coordinator/client/errors.h"
#include "coordinator/rpc/limits.h"
#include "coordinator/store/run_ids.h"
#include "coordinator/store/state_store.h"
#include "tests/unit/auth/make_certificates.h"
#include "tests/unit/rpc/wire.h"

namespace gridquant::rpc {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::SizeIs;
using SteadyClock = std::chrono::steady_clock;

// One message each way, as bytes: the services of others are called without their generated code.
struct Reply {
  grpc::Status status;
  std::string bytes;
};

Reply call(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const std::string& bytes) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto stream = stub.PrepareCall(&context, method, &queue);
  stream->StartCall(nullptr);
  Reply reply;
  if (wait()) {
    const grpc::Slice slice(bytes);
    stream->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    wait();
    grpc::ByteBuffer answer;
    stream->Read(&answer, nullptr);
    if (wait()) {
      grpc::Slice whole;
      EXPECT_TRUE(answer.DumpToSingleSlice(&whole).ok());
      reply.bytes.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
    }
    stream->WritesDone(nullptr);
    wait();
  }
  stream->Finish(&reply.status, nullptr);
  wait();
  queue.Shutdown();
  return reply;
}

// grpc.health.v1: {service = 1} -> {status = 1}, where 1 is SERVING.
Reply health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  std::string request;
  if (!service.empty()) request = std::string("\x0a") + static_cast<char>(service.size()) + service;
  return call(channel, "/grpc.health.v1.Health/Check", request);
}

constexpr const char* kServing = "\x08\x01";

// grpc.reflection: {list_services = 7} -> names.
Reply reflection(const std::shared_ptr<grpc::Channel>& channel) {
  return call(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", std::string("\x3a\x00", 2));
}

class ServerTest : public CoordinatorTest {};

TEST_F(ServerTest, HealthOfTheServerAndOfEachService) {
  begin();
  for (const char* service : {"", "gridquant.v1.PipelineService", "gridquant.v1.NodeService"}) {
    const Reply reply = health(channel(), service);
    EXPECT_TRUE(reply.status.ok()) << service << ": " << reply.status.error_message();
    EXPECT_EQ(reply.bytes, kServing) << service;
  }
  EXPECT_EQ(health(channel(), "gridquant.v1.Nothing").status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServerTest, ReflectionNamesTheServices) {
  begin();
  const Reply reply = reflection(channel());
  EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
  for (const char* service : {"gridquant.v1.PipelineService", "gridquant.v1.NodeService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(reply.bytes, HasSubstr(service));
  }
}

TEST_F(ServerTest, UnderTlsHealthIsForAllAndReflectionForThoseWhoMayLook) {
  close();
  const auth::Authority authority("cluster");
  const auto write = [&](const std::string& name, const std::string& text) {
    const std::string path = root_ + "/" + name;
    EXPECT_TRUE(base::write_file_atomically(base::posix_env(), path, text).ok());
    return path;
  };
  const auth::KeyPair pair = authority.sign("server");
  const auth::TlsFiles files{.certificate = write("server.crt", pair.certificate),
                             .key = write("server.key", pair.key),
                             .ca = write("ca.crt", authority.certificate())};
  open({.tls = files});
  begin();
  const std::string address = "localhost:" + address_.substr(address_.rfind(':') + 1);
  const auto connect = [&](const auth::TlsFiles& own) {
    return grpc::CreateChannel(address, *auth::channel_credentials({.tls = own}, address));
  };
  const auto nobody = connect({.certificate = {}, .key = {}, .ca = files.ca}), somebody = connect(files);
  EXPECT_EQ(health(nobody, "gridquant.v1.PipelineService").bytes, kServing);
  EXPECT_EQ(reflection(nobody).status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(reflection(somebody).bytes, HasSubstr("gridquant.v1.PipelineService"));
  EXPECT_FALSE(health(channel(), "").status.ok()) << "nothing is answered in the clear";
}

TEST_F(ServerTest, WhatIsTooLargeIsRefusedWithTheLimit) {
  begin();
  const auto file = client()->call(submission("", std::string(kMaxFileBytes + 1, '#')));
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("small.yaml has more than 1048576 bytes"));
  const auto message = client()->call(submission("", std::string(kMaxReceiveBytes + 1, '#')));
  EXPECT_EQ(message.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(message.status().message()), AllOf(HasSubstr("too large"), HasSubstr("16777216")));
  v1::SubmitRequest many = submission("");
  for (size_t i = 0; i <= kMaxParams; ++i) (*many.mutable_file()->mutable_params())["p" + std::to_string(i)] = "1";
  EXPECT_THAT(std::string(client()->call(many).status().message()), HasSubstr("more than 1000 parameters"));
}

TEST_F(ServerTest, ACallThatIsNotAnsweredInTimeEndsByItsDeadline) {
  // Nobody turns the scheduler's loop: begin() was not called.
  client::Client late({.address = address_, .try_timeout_ms = 200, .max_late_tries = 2});
  const auto since = SteadyClock::now();
  const auto answer = late.call(v1::ListRunsRequest());
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("did not answer in time"));
  EXPECT_LT(SteadyClock::now() - since, std::chrono::seconds(5));
  begin();  // so that the calls end
}

TEST_F(ServerTest, MistakesInAFileComeWithFileLineColumnCodeAndHint) {
  begin();
  std::string text = kSmallPipeline;
  text.replace(text.find("uses: analyze"), 13, "uses: analyse");
  const auto answer = client()->call(submission("", text));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("small.yaml:8:21: unknown kind of stage 'analyse'"));
  const auto detail = client::error_detail(answer.status());
  ASSERT_TRUE(detail.has_value());
  ASSERT_THAT(detail->diagnostics(), SizeIs(1));
  const v1::Diagnostic& mistake = detail->diagnostics(0);
  EXPECT_EQ(mistake.file(), "small.yaml");
  EXPECT_EQ(mistake.line(), 8);
  EXPECT_EQ(mistake.column(), 21);
  EXPECT_EQ(mistake.length(), 7);
  EXPECT_EQ(mistake.code(), "GQ0203");
  EXPECT_THAT(mistake.hint(), HasSubstr("analyze"));
  EXPECT_EQ(records("run_submitted"), 0);
}

TEST_F(ServerTest, ManyMistakesFitIntoATrailerAndValidateGivesAll) {
  begin();
  std::string text = kSmallPipeline;
  for (int i = 0; i < 500; ++i) text += "    s" + std::to_string(i) + ": {uses: nothing-of-this-kind}\n";
  const auto answer = client()->call(submission("", text));
  const auto detail = client::error_detail(answer.status());
  ASSERT_TRUE(detail.has_value()) << answer.status();
  EXPECT_GT(detail->diagnostics_size(), 5);
  v1::ValidateRequest request;
  *request.mutable_file() = submission("", text).file();
  const auto all = client()->call(request);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_GT(all->diagnostics_size(), detail->diagnostics_size());
}

TEST_F(ServerTest, NamesOfNodesAndLabelsThatCannotBeEndTheSession) {
  begin();
  const auto refused = [this](const std::function<void(v1::NodeReport&)>& change) {
    const auto stub = v1::NodeService::NewStub(channel());
    grpc::ClientContext context;
    const auto stream = stub->Session(&context);
    v1::SessionRequest request;
    request.mutable_report()->set_node("n");
    request.mutable_report()->set_boot(1);
    request.mutable_report()->mutable_inventory()->set_cores(1);
    change(*request.mutable_report());
    stream->Write(request);
    v1::SessionResponse response;
    EXPECT_FALSE(stream->Read(&response));
    const grpc::Status status = stream->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  for (const std::string& name : {std::string(), std::string("a b"), std::string("../a"), std::string(254, 'n')}) {
    EXPECT_THAT(refused([&](v1::NodeReport& report) { report.set_node(name); }), HasSubstr("the name of a node has"));
  }
  EXPECT_THAT(refused([](v1::NodeReport& report) {
                (*report.mutable_inventory()->mutable_labels())["gridquant/cpu-kind"] = "x";
              }),
              HasSubstr("the label gridquant/cpu-kind is the coordinator's own"));
  EXPECT_THAT(refused([](v1::NodeReport& report) { report.mutable_inventory()->set_cores(0); }),
              HasSubstr("has no cores"));
}

// An agent that cannot end what it runs: its slot stays taken, and operators see why.
TEST_F(ServerTest, ADrainsDeadlineIsATimeToCome) {
  begin();
  join("node-a");
  for (const int64_t deadline_ms : {int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    v1::DrainNodeRequest request;
    request.set_node("node-a");
    request.set_deadline_ms(deadline_ms);
    const Status refused = client()->call(request).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << deadline_ms;
    EXPECT_THAT(std::string(refused.message()), HasSubstr(std::to_string(deadline_ms)));
  }
  v1::DrainNodeRequest request;
  request.set_node("node-a");
  EXPECT_TRUE(client()->call(request).ok());
}

TEST_F(ServerTest, AQuarantinedSlotIsShown) {
  close();
  node_lease_ms_ = 60'000;
  open();
  begin();
  const std::string run = submit();
  const auto stub = v1::NodeService::NewStub(channel());
  grpc::ClientContext context;
  const auto stream = stub->Session(&context);
  v1::SessionRequest request;
  v1::NodeReport& report = *request.mutable_report();
  report.set_node("node-a");
  report.set_boot(1);
  report.mutable_inventory()->set_cores(1);
  report.mutable_inventory()->set_cpu_kind("kind");
  stream->Write(request);
  v1::SessionResponse response;
  while (response.desired().attempts().empty()) ASSERT_TRUE(stream->Read(&response));
  report.set_session(response.desired().session());
  report.set_sequence(1);
  *report.mutable_applied() = response.desired().revision();
  v1::AttemptReport& attempt = *report.add_attempts();
  attempt.set_epoch(response.desired().attempts(0).epoch());
  attempt.set_phase(v1::PHASE_DIRTY);
  stream->Write(request);
  const auto dirty = [&] {
    const auto nodes = client()->call(v1::ListNodesRequest());
    return nodes.ok() && nodes->nodes(0).attempts_size() > 0 && nodes->nodes(0).attempts(0).dirty();
  };
  for (int i = 0; i < 100 && !dirty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::string program = std::string(GRIDQUANT_BIN_DIR) + "/gridquant";
  const auto output_of = [&](const std::string& arguments) {
    const std::string path = root_ + "/out.txt";
    EXPECT_EQ(std::system((program + " " + arguments + " --coordinator " + address_ + " >" + path).c_str()), 0);
    return *base::read_file(base::posix_env(), path);
  };
  EXPECT_THAT(output_of("nodes list"), AllOf(HasSubstr("ready, quarantined"), HasSubstr(run + "/analyze")));
  EXPECT_THAT(output_of("nodes list -o json"), HasSubstr("\"quarantined\": true"));
  EXPECT_THAT(output_of("explain " + run + " analyze"),
              AnyOf(HasSubstr("what runs on node node-a cannot be ended"), HasSubstr("1 slot quarantined")));
  context.TryCancel();
}

// Where the folder of the logs should be lies a file: nothing can be written there until it goes.
TEST_F(ServerTest, ALogThatCannotBeWrittenEndsNothingAndComesAgain) {
  close();
  node_lease_ms_ = 60'000;
  open();
  const std::string runs = root_ + "/work" + "/runs";
  std::ofstream(runs) << "in the way";
  begin();
  const std::string run = submit();
  const auto stub = v1::NodeService::NewStub(channel());
  grpc::ClientContext context;
  const auto stream = stub->Session(&context);
  v1::SessionRequest report;
  report.mutable_report()->set_node("node-a");
  report.mutable_report()->set_boot(1);
  report.mutable_report()->mutable_inventory()->set_cores(1);
  report.mutable_report()->mutable_inventory()->set_cpu_kind("kind");
  v1::SessionRequest piece;
  piece.mutable_log()->set_epoch(7);
  piece.mutable_log()->set_log_name(run + "/analyze/attempt-1");
  piece.mutable_log()->set_data("what the worker said\n");
  v1::SessionResponse response;
  // Reports until a log is acknowledged; -1: the session has ended.
  const auto acknowledged = [&](int most) -> int64_t {
    for (int i = 0; i < most; ++i) {
      report.mutable_report()->set_sequence(report.report().sequence() + 1);
      if (!stream->Write(report) || !stream->Read(&response)) return -1;
      if (response.has_log_acknowledged()) return static_cast<int64_t>(response.log_acknowledged().offset());
      if (response.has_desired()) report.mutable_report()->set_session(response.desired().session());
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return -2;
  };
  ASSERT_EQ(acknowledged(3), -2);
  ASSERT_TRUE(stream->Write(piece));
  EXPECT_NE(acknowledged(3), -1) << "the session goes on";
  const Status trouble = control_->logs().trouble();
  EXPECT_THAT(std::string(trouble.message()), HasSubstr(runs));
  v1::ExplainRunRequest why;
  why.set_run(run);
  std::string sentence;
  for (int i = 0; i < 100 && sentence.find("runs as attempt 1") == std::string::npos; ++i) {
    const auto explained = client()->call(why);
    ASSERT_TRUE(explained.ok()) << explained.status();
    sentence = explained->stages(0).sentence();
    EXPECT_NE(acknowledged(1), -1);
  }
  EXPECT_THAT(sentence, HasSubstr("its log cannot be written just now, its node keeps it"));
  std::filesystem::remove(runs);
  const auto whole = static_cast<int64_t>(piece.log().data().size());
  int64_t there = -2;
  for (int i = 0; i < 100 && there != whole && there != -1; ++i) {  // what is told first is where to begin again: 0
    ASSERT_TRUE(stream->Write(piece));
    there = acknowledged(3);
  }
  EXPECT_EQ(there, whole);
  EXPECT_EQ(*base::read_file(base::posix_env(), runs + "/" + run + "/analyze/attempt-1.log"), piece.log().data());
  EXPECT_TRUE(control_->logs().trouble().ok());
  context.TryCancel();
}

// Both sides at once: each has keepalive of its own, and the wire tells neither that the other one is gone.
TEST_F(ServerTest, ACutLinkIsSeenByBothSidesWithinTheKeepalive) {
  begin();
  const std::string run = submit();
  Wire wire(address_, {});
  client::Client over_wire(options(wire.address()));
  v1::WatchRunRequest request;
  request.set_run(run);
  const auto stream = over_wire.watch(request);
  using Kind = client::StreamStep<v1::WatchRunResponse>::Kind;
  const auto until = [&stream](Kind kind, int seconds) {
    const auto end = SteadyClock::now() + std::chrono::seconds(seconds);
    while (SteadyClock::now() < end) {
      if (stream->next(100).kind == kind) return true;
    }
    return false;
  };
  ASSERT_TRUE(until(Kind::kMessage, 10));
  wire.freeze();
  EXPECT_TRUE(until(Kind::kCut, 20)) << "the client sees it";
  for (int i = 0; i < 100 && !wire.server_gave_up(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(wire.server_gave_up()) << "the server sees it";
}

TEST_F(CoordinatorTest, ASubmissionIsWarnedOfWhatNoNodeCanGive) {
  begin();
  const auto answer = client()->call(submission("once"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_THAT(answer->warnings(), SizeIs(1));
  EXPECT_THAT(answer->warnings(0), HasSubstr("stage 'analyze' waits for a node: none is there now"));
}

TEST_F(CoordinatorTest, ADeletedRunIsGoneFromTheDiskAndStaysSo) {
  begin();
  const std::string run = submit();
  ASSERT_TRUE(cancel_and_delete(run).ok());
  EXPECT_EQ(records("run_submitted"), 0);
  EXPECT_EQ(records("run_erased"), 1);
  restart();
  v1::GetRunRequest request;
  request.set_run(run);
  EXPECT_EQ(client()->call(request).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(submit(), "small-2");
  EXPECT_EQ(records("run_submitted"), 1);
}

// `gridquant run` has worked in the folder between two coordinators.
TEST_F(CoordinatorTest, AnIdIsNotGivenTwice) {
  const std::string workdir = root_ + "/work";
  begin();
  EXPECT_EQ(submit(), "small-1");
  close();
  {
    auto store = store::open_sqlite_store(workdir, store::Access::kReadWrite);
    ASSERT_TRUE(store.ok()) << store.status();
    store::Batch batch;
    batch.runs = {{"small-2", "small", "succeeded", 1, 2}, {"small-4", "small", "succeeded", 1, 2}};
    ASSERT_TRUE((*store)->commit(batch).ok());
  }
  const auto ids = store::used_run_ids(base::posix_env(), workdir);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, testing::ElementsAre("small-1", "small-2", "small-4"));
  restart();
  EXPECT_EQ(submit(), "small-5");
  std::filesystem::create_directories(workdir + "/runs/small-7");
  restart();
  EXPECT_EQ(submit(), "small-8");
}

TEST(RunNumberTest, IsWhatStandsBehindTheLastDash) {
  EXPECT_EQ(store::run_number("a-b-12"), 12u);
  for (const char* none : {"", "small", "small-", "small-x", "small-99999999999999999999", "7"}) {
    EXPECT_EQ(store::run_number(none), 0u) << none;
  }
}

}  // namespace
}  // namespace gridquant::rpc
