// The verbs of a cluster as a process: what they ask, what they print and how they exit, against a coordinator that
// answers as the test says. Against the real one: tests/e2e/cluster_test.py.
#include "tests/unit/cli/cli_fixture.h"
#include "tests/unit/client/fake_coordinator.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class Answers final : public v1::PipelineService::Service {
 public:
  Answers() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  grpc::Status submit_status = grpc::Status::OK;
  v1::SubmitRequest submitted;
  grpc::Status refuse_cancel = grpc::Status::OK;

  grpc::Status Submit(grpc::ServerContext*, const v1::SubmitRequest* request, v1::SubmitResponse* answer) override {
    submitted = *request;
    answer->set_run("small-1");
    answer->add_warnings("stage 'plan' waits for a node");
    return submit_status;
  }
  grpc::Status Validate(grpc::ServerContext*, const v1::ValidateRequest*, v1::ValidateResponse* answer) override {
    answer->set_kind("Pipeline");
    answer->add_names("analyze");
    answer->add_names("plan");
    return grpc::Status::OK;
  }
  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest* request, v1::GetRunResponse* answer) override {
    if (request->run() != "small-1") return {grpc::StatusCode::NOT_FOUND, "there is no run '" + request->run() + "'"};
    v1::Run* run = answer->mutable_run();
    run->set_id("small-1");
    run->set_pipeline("small");
    run->set_state(v1::RUN_STATE_FAILED);
    run->set_created_ms(1'000);
    run->set_finished_ms(3'000);
    v1::Stage* stage = run->add_stages();
    stage->set_name("analyze");
    stage->set_uses("analyze");
    stage->set_state(v1::STAGE_STATE_FAILED);
    v1::Attempt* attempt = stage->add_attempts();
    attempt->set_number(1);
    attempt->set_node("node-a");
    attempt->set_granted_ms(1'000);
    attempt->set_finished_ms(3'000);
    attempt->set_outcome("failed");
    attempt->set_exit_code(11);
    attempt->set_message("no such bits");
    return grpc::Status::OK;
  }
  grpc::Status GetBatch(grpc::ServerContext*, const v1::GetBatchRequest*, v1::GetBatchResponse*) override {
    return {grpc::StatusCode::NOT_FOUND, "no batch"};
  }
  grpc::Status ExplainRun(grpc::ServerContext*, const v1::ExplainRunRequest*, v1::ExplainRunResponse* answer) override {
    answer->add_stages()->set_stage("analyze");
    answer->mutable_stages(0)->set_sentence("Its parameters cannot work.");
    return grpc::Status::OK;
  }
  grpc::Status CancelRun(grpc::ServerContext*, const v1::CancelRunRequest*, v1::CancelRunResponse*) override {
    return refuse_cancel;
  }
  grpc::Status WatchRun(grpc::ServerContext* context, const v1::WatchRunRequest*,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override {
    writer->Write(event(1, "run_submitted"));
    while (hang_ && !context->IsCancelled()) ::usleep(5'000);
    writer->Write(event(2, "run_finished"));
    return grpc::Status::OK;
  }
  void hang() { hang_ = true; }

 private:
  static v1::WatchRunResponse event(uint64_t sequence, const std::string& type) {
    v1::WatchRunResponse message;
    message.mutable_event()->set_sequence(sequence);
    message.mutable_event()->set_type(type);
    message.mutable_event()->set_body_json("{}");
    message.mutable_event()->set_run_state(v1::RUN_STATE_FAILED);
    return message;
  }

  int port_ = 0;
  bool hang_ = false;
  std::unique_ptr<grpc::Server> server_;
};

class ClusterVerbsTest : public CliTest {
 protected:
  Outcome call(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--coordinator", answers_.address(), "--patience", "1"});
    return gridquant(arguments);
  }
  Answers answers_;
};

TEST_F(ClusterVerbsTest, SubmitSendsTheFileAndPrintsTheRun) {
  const Outcome outcome =
      call({"submit", "small.yaml", "-p", "bits=3", "--output", "o", "--no-cache", "--idempotency-key", "k1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "small-1 submitted\n");
  EXPECT_THAT(outcome.err, HasSubstr("warning: stage 'plan' waits for a node\n"));
  EXPECT_EQ(answers_.submitted.request_id(), "k1");
  EXPECT_EQ(answers_.submitted.output(), "o");
  EXPECT_TRUE(answers_.submitted.no_cache());
  EXPECT_EQ(answers_.submitted.file().text(), read("small.yaml"));
  EXPECT_EQ(answers_.submitted.file().params().at("bits"), "3");
  EXPECT_EQ(std::filesystem::canonical(answers_.submitted.file().working_folder()), std::filesystem::canonical(root_));
}

TEST_F(ClusterVerbsTest, MistakesReadAsValidatePrintsThem) {
  write("bad.yaml", "apiVersion: gridquant/v1\nkind: Pipline\n");
  v1::ErrorDetail detail;
  v1::Diagnostic* diagnostic = detail.add_diagnostics();
  diagnostic->set_code("GQ0103");
  diagnostic->set_file("bad.yaml");
  diagnostic->set_line(2);
  diagnostic->set_column(7);
  diagnostic->set_length(7);
  diagnostic->set_message("unknown kind");
  v1::Status status;
  status.add_details()->set_type_url("type.googleapis.com/gridquant.v1.ErrorDetail");
  status.mutable_details(0)->set_value(detail.SerializeAsString());
  answers_.submit_status = {grpc::StatusCode::INVALID_ARGUMENT, "1 mistake", status.SerializeAsString()};
  const Outcome outcome = call({"submit", "bad.yaml"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.err,
            "bad.yaml:2:7: error[GQ0103]: unknown kind\n   2 | kind: Pipline\n     |       ^~~~~~~\n");
  const json found = json::parse(call({"submit", "bad.yaml", "-o", "json"}).out, nullptr, false);
  EXPECT_THAT(found.dump(), HasSubstr("GQ0103"));
}

TEST_F(ClusterVerbsTest, ADryRunSubmitsNothing) {
  const Outcome outcome = call({"submit", "small.yaml", "--dry-run"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, "small.yaml: ok (2 stages), not submitted\n");
  EXPECT_THAT(answers_.submitted.file().text(), IsEmpty());
}

TEST_F(ClusterVerbsTest, WatchingEndsWithTheRunsOwnExitCode) {
  const Outcome outcome = call({"submit", "small.yaml", "--watch"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("run small-1 failed"), HasSubstr("gridquant retry small-1")));
}

TEST_F(ClusterVerbsTest, AnInterruptLeavesTheRunGoingAndSaysSo) {
  answers_.hang();
  const pid_t pid =
      start({"submit", "small.yaml", "--watch", "--coordinator", answers_.address(), "--patience", "1"});
  ASSERT_TRUE(wait_until("stderr.txt", "run small-1"));
  ::kill(pid, SIGINT);
  const Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.exit_code, 130);
  EXPECT_THAT(outcome.err, HasSubstr("small-1 goes on. To look again: gridquant watch small-1"));
}

TEST_F(ClusterVerbsTest, GetShowsARunAsOfAWorkFolderInEveryFormat) {
  const Outcome text = call({"get", "small-1", "-o", "wide"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("run small-1  failed  2.0 s"), HasSubstr("analyze"), HasSubstr("node-a")));
  const json run = json::parse(call({"get", "small-1", "-o", "json"}).out);
  EXPECT_EQ(run["stages"][0]["attempts"][0]["node"], "node-a");
  EXPECT_THAT(call({"get", "small-1", "-o", "yaml"}).out, HasSubstr("state: failed"));
  EXPECT_EQ(call({"get", "small-2"}).exit_code, 3);
}

TEST_F(ClusterVerbsTest, ExplainGivesTheCoordinatorsSentenceAndWhatToDo) {
  const Outcome outcome = call({"explain", "small-1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("Its parameters cannot work."), HasSubstr("no such bits"),
                                 HasSubstr("what to do"), HasSubstr("gridquant logs small-1 analyze")));
}

TEST_F(ClusterVerbsTest, RefusalsAndSilenceHaveExitCodesOfTheirOwn) {
  EXPECT_EQ(call({"cancel", "small-1"}).exit_code, 0);
  answers_.refuse_cancel = {grpc::StatusCode::FAILED_PRECONDITION, "run small-1 is over"};
  const Outcome over = call({"cancel", "small-1"});
  EXPECT_EQ(over.exit_code, 5);
  EXPECT_THAT(over.err, HasSubstr("run small-1 is over"));
  answers_.refuse_cancel = {grpc::StatusCode::PERMISSION_DENIED, "a viewer may not cancel"};
  EXPECT_EQ(call({"cancel", "small-1"}).exit_code, 5);
  const Outcome nobody = gridquant({"nodes", "list", "--coordinator", "127.0.0.1:1", "--patience", "0.2"});
  EXPECT_EQ(nobody.exit_code, 4);
  EXPECT_THAT(nobody.err, AllOf(HasSubstr("127.0.0.1:1"), HasSubstr("is it running")));
  EXPECT_EQ(gridquant({"nodes", "drain", "--deadline", "soon", "a"}).exit_code, 2);
  EXPECT_EQ(gridquant({"list", "--workdir", "w", "--coordinator", "x:1"}).exit_code, 2);
}

}  // namespace
}  // namespace gridquant::cli
