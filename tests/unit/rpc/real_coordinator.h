// A real coordinator in this process, on a loopback port and in a folder of its own: control, store and services, as
// `gridquant coordinator` has them. And a pipeline that can be submitted to it.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "absl/synchronization/notification.h"
#include "coordinator/client/client.h"
#include "coordinator/rpc/server.h"
#include "gridquant/v1/node.grpc.pb.h"
#include "gridquant/v1/pipeline.grpc.pb.h"

namespace gridquant::rpc {

inline constexpr const char* kSmallPipeline = R"(apiVersion: gridquant/v1
kind: Pipeline
metadata: {name: small}
spec:
  params:
    model: {type: path, default: model}
  stages:
    analyze: {uses: analyze, with: {model: "${params.model}"}}
)";

class CoordinatorTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    std::string name = info->name();
    std::replace(name.begin(), name.end(), '/', '-');
    root_ = testing::TempDir() + "rpc-" + std::to_string(::getpid()) + "-" + name;
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/model");
    std::ofstream(root_ + "/model/config.json") << "{}";
    open();
  }
  void TearDown() override {
    close();
    std::filesystem::remove_all(root_);
  }

  // Calls are taken from now on, and answered once begin() was called.
  void open(const auth::ServerSecurity& security = {}) {
    control::ControlOptions options;
    options.workdir = options.store = root_ + "/work";
    options.version = "test";
    options.own = {.cpu_kind = "kind", .cpu_model = "model", .compute_types = {"fp32"}, .cores = 4};
    options.limits.node_lease_ms = node_lease_ms_;  // nodes that have joined are lost at once: nothing is placed
    control_ = std::make_unique<control::Control>(options);
    const Status opened = control_->open(base::system_clock());
    ASSERT_TRUE(opened.ok()) << opened;
    auto server = Server::start(*control_, {address_, security});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    address_ = server_->address();
  }
  void begin() {
    control_->start([](const Status& failure) { ADD_FAILURE() << failure; });
  }
  void close() {
    if (server_ != nullptr) server_->stop();
    if (control_ != nullptr) control_->stop();
    server_.reset();
    control_.reset();
  }
  void restart() {
    close();
    open();
    begin();
  }

  client::ClientOptions options(const std::string& address) const { return {.address = address}; }
  std::unique_ptr<client::Client> client() const { return std::make_unique<client::Client>(options(address_)); }
  std::shared_ptr<grpc::Channel> channel() const {
    return grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  }

  v1::SubmitRequest submission(const std::string& id, const std::string& text = kSmallPipeline) const {
    v1::SubmitRequest request;
    request.set_request_id(id);
    request.mutable_file()->set_name("small.yaml");
    request.mutable_file()->set_text(text);
    request.mutable_file()->set_working_folder(root_);
    return request;
  }
  std::string submit() const {
    const auto answer = client()->call(submission(""));
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->run() : "";
  }
  Status cancel_and_delete(const std::string& run) const {
    v1::CancelRunRequest cancel;
    cancel.set_run(run);
    GQ_RETURN_IF_ERROR(client()->call(cancel).status());
    v1::DeleteRunRequest request;
    request.set_run(run);
    return client()->call(request).status();
  }
  // As an agent does.
  void join(const std::string& node) const {
    const auto stub = v1::NodeService::NewStub(channel());
    grpc::ClientContext context;
    const auto stream = stub->Session(&context);
    v1::SessionRequest request;
    v1::NodeReport& report = *request.mutable_report();
    report.set_node(node);
    report.set_home("home of " + node);
    report.set_boot(1);
    report.mutable_inventory()->set_cores(1);
    report.mutable_inventory()->set_cpu_kind("another kind");
    stream->Write(request);
    v1::SessionResponse response;
    EXPECT_TRUE(stream->Read(&response)) << "it is told its session";
    context.TryCancel();
  }
  // Records on disk of this type.
  int records(const std::string& type) const {
    int count = 0;
    absl::Notification done;
    const Status posted = control_->core().look([&](const control::View& view) {
      EXPECT_TRUE(view.store
                      .each_record([&](const std::string& text) {
                        count += nlohmann::json::parse(text)["type"] == type ? 1 : 0;
                        return absl::OkStatus();
                      })
                      .ok());
      done.Notify();
    });
    EXPECT_TRUE(posted.ok()) << posted;
    done.WaitForNotification();
    return count;
  }

  int64_t node_lease_ms_ = 100;
  std::string root_, address_ = "127.0.0.1:0";
  std::unique_ptr<control::Control> control_;
  std::unique_ptr<Server> server_;
};

}  // namespace gridquant::rpc
