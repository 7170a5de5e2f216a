// What a client says when the connection is not to be trusted: at once, with what to do, and without a token having
// left.
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/auth/credentials.h"
#include "coordinator/client/client.h"
#include "engine/base/env.h"
#include "tests/unit/auth/make_certificates.h"
#include "tests/unit/client/fake_coordinator.h"

namespace gridquant::client {
namespace {

using testing::HasSubstr;
using SteadyClock = std::chrono::steady_clock;

class SecurityTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "client-security-" + std::to_string(::getpid());
    std::filesystem::create_directories(root_);
    const auth::KeyPair server = cluster_.sign("server");
    files_ = {.certificate = write("server.crt", server.certificate),
              .key = write("server.key", server.key),
              .ca = write("ca.crt", cluster_.certificate())};
    const auto credentials = auth::server_credentials({.tls = files_}, "127.0.0.1:0");
    ASSERT_TRUE(credentials.ok()) << credentials.status();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", *credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }
  void TearDown() override {
    server_->Shutdown(std::chrono::system_clock::now());
    std::filesystem::remove_all(root_);
  }
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = root_ + "/" + name;
    EXPECT_TRUE(base::write_file_atomically(base::posix_env(), path, text).ok());
    return path;
  }
  static Status cancel(const std::string& address, const auth::ClientSecurity& security) {
    Client client({.address = address, .security = security, .unreachable_ms = 3'000});
    return client.call(v1::CancelRunRequest()).status();
  }
  std::string address() const { return "localhost:" + std::to_string(port_); }

  const auth::Authority cluster_{"cluster"}, other_{"other"};
  std::string root_;
  auth::TlsFiles files_;
  v1::PipelineService::Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

TEST_F(SecurityTest, AnswersComeThroughTls) {
  EXPECT_EQ(cancel(address(), {.tls = files_}).code(), absl::StatusCode::kUnimplemented);  // got through
  const Status nobody = cancel(address(), {.tls = {.certificate = {}, .key = {}, .ca = files_.ca}});
  EXPECT_EQ(nobody.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(nobody.message()), HasSubstr("a client certificate (--tls-cert FILE --tls-key FILE)"));
}

TEST_F(SecurityTest, AStrangerIsNotTriedAgain) {
  const auto begin = SteadyClock::now();
  const Status status =
      cancel(address(), {.tls = {.certificate = {}, .key = {}, .ca = write("other.crt", other_.certificate())}});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not prove who it is: its certificate is not signed by"));
  EXPECT_LT(SteadyClock::now() - begin, std::chrono::milliseconds(2'500));
}

TEST_F(SecurityTest, OneSideWithoutTls) {
  FakeCoordinator plain;
  const Status with = cancel(plain.address(), {.tls = files_});
  EXPECT_EQ(with.code(), absl::StatusCode::kFailedPrecondition) << with;
  EXPECT_THAT(std::string(with.message()), HasSubstr("speaks no TLS"));
  const Status without = cancel(address(), {});
  EXPECT_EQ(without.code(), absl::StatusCode::kUnavailable) << without;
  EXPECT_THAT(std::string(without.message()), HasSubstr("does it want TLS (--tls-ca)?"));
}

TEST_F(SecurityTest, OptionsThatCannotWorkAreSaidByEveryCall) {
  FakeCoordinator plain;
  const auth::ClientSecurity missing{.tls = {.certificate = {}, .key = {}, .ca = root_ + "/gone.crt"}};
  EXPECT_THAT(std::string(cancel(plain.address(), missing).message()), HasSubstr("--tls-ca: "));
  Client client({.address = plain.address(), .security = missing});
  const auto step = client.watch(v1::WatchRunRequest())->next(1'000);
  EXPECT_EQ(step.kind, StreamStep<v1::WatchRunResponse>::Kind::kEnded);
  EXPECT_THAT(std::string(step.status.message()), HasSubstr("--tls-ca: "));
  EXPECT_TRUE(plain.ids.empty()) << "nothing may be sent in the clear instead";
}

}  // namespace
}  // namespace gridquant::client
