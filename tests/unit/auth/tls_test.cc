// Real connections on loopback: who gets in, who is refused with which words, and that changed files count without a
// restart.
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "coordinator/auth/credentials.h"
#include "coordinator/auth/health_listener.h"
#include "coordinator/auth/tokens.h"
#include "engine/base/env.h"
#include "gridquant/v1/pipeline.grpc.pb.h"
#include "tests/unit/auth/make_certificates.h"

namespace gridquant::auth {
namespace {

using testing::HasSubstr;

class Service final : public v1::PipelineService::Service {
 public:
  grpc::Status Submit(grpc::ServerContext* context, const v1::SubmitRequest*, v1::SubmitResponse*) override {
    saw_token = context->client_metadata().count("authorization") > 0;
    return grpc::Status::OK;
  }
  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest*, v1::GetRunResponse*) override {
    return grpc::Status::OK;
  }
  bool saw_token = false;
};

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "tls-" + std::to_string(::getpid());
    std::filesystem::create_directories(root_);
    write("ca.crt", authority_.certificate());
    write_pair("server", authority_.sign("server"));
    write_pair("client", authority_.sign("client"));
    write("tokens", operator_.line + "\n" + viewer_.line + "\n");
    write("operator", operator_.token + "\n");
    write("viewer", viewer_.token + "\n");
  }
  void TearDown() override {
    if (server_) server_->Shutdown();
    std::filesystem::remove_all(root_);
  }
  std::string path(const std::string& name) const { return root_ + "/" + name; }
  void write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(base::write_file_atomically(base::posix_env(), path(name), text).ok());
  }
  void write_pair(const std::string& name, const KeyPair& pair) {
    write(name + ".crt", pair.certificate);
    write(name + ".key", pair.key);
  }
  TlsFiles files(const std::string& name) const {
    return {.certificate = path(name + ".crt"), .key = path(name + ".key"), .ca = path("ca.crt")};
  }
  TlsFiles only_ca() const { return {.certificate = {}, .key = {}, .ca = path("ca.crt")}; }

  void serve(const ServerSecurity& security) {
    const auto credentials = server_credentials(security, "127.0.0.1:0");
    ASSERT_TRUE(credentials.ok()) << credentials.status();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", *credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void serve_tls() { serve({.tls = files("server"), .token_file = path("tokens"), .insecure = false, .reload_s = 1}); }

  std::string address() const { return "localhost:" + std::to_string(port_); }

  // The outcome of one call over a connection of its own.
  grpc::Status call(const std::shared_ptr<grpc::ChannelCredentials>& credentials, bool submit = true) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto stub = v1::PipelineService::NewStub(grpc::CreateCustomChannel(address(), credentials, arguments));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::SubmitResponse submitted;
    v1::GetRunResponse got;
    return submit ? stub->Submit(&context, {}, &submitted) : stub->GetRun(&context, {}, &got);
  }
  grpc::Status call(const ClientSecurity& security, bool submit = true) {
    const auto credentials = channel_credentials(security, address());
    if (!credentials.ok()) return {grpc::StatusCode::UNKNOWN, std::string(credentials.status().message())};
    return call(*credentials, submit);
  }
  void expect(const grpc::Status& status, grpc::StatusCode code, const char* message) {
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(message));
  }
  // Until it holds, for at most ten seconds: files are read again after one.
  static bool soon(const std::function<bool()>& holds) {
    for (int i = 0; i < 100; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  }

  const Authority authority_{"cluster"}, other_{"other"};
  const NewToken operator_ = make_token(Role::kOperator, "alice"), viewer_ = make_token(Role::kViewer, "board");
  std::string root_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

TEST_F(TlsTest, LetsInWhoMayComeIn) {
  serve_tls();
  EXPECT_TRUE(call({.tls = files("client")}).ok());
  EXPECT_TRUE(call({.tls = only_ca(), .token_file = path("operator")}).ok());
  EXPECT_FALSE(service_.saw_token) << "handlers must not see tokens";
  EXPECT_TRUE(call({.tls = only_ca(), .token_file = path("viewer")}, /*submit=*/false).ok());
}

TEST_F(TlsTest, RefusesEverybodyElseWithAReason) {
  serve_tls();
  write_pair("stranger", other_.sign("stranger"));
  write("nonsense", "gq_invented\n");
  expect(call({.tls = only_ca()}), grpc::StatusCode::UNAUTHENTICATED,
         "the server wants to know who calls: pass a token");
  expect(call({.tls = files("stranger")}), grpc::StatusCode::UNAUTHENTICATED,
         "CN=stranger: unable to get local issuer certificate");
  expect(call({.tls = only_ca(), .token_file = path("nonsense")}), grpc::StatusCode::UNAUTHENTICATED, "not valid");
  expect(call({.tls = only_ca(), .token_file = path("viewer")}), grpc::StatusCode::PERMISSION_DENIED,
         "board may look and not change: Submit");
  // One that a careful client would not even send.
  const KeyPair expired = authority_.sign("late", -7200, -3600);
  expect(call(grpc::SslCredentials({authority_.certificate(), expired.key, expired.certificate})),
         grpc::StatusCode::UNAUTHENTICATED, "CN=late: certificate has expired");
}

TEST_F(TlsTest, AGoodCertificateBesideAForeignOneHelpsNobody) {
  serve_tls();
  const KeyPair own = other_.sign("stranger");
  for (const std::string& beside : {authority_.certificate(), authority_.sign("node").certificate}) {
    expect(call(grpc::SslCredentials({authority_.certificate(), own.key, own.certificate + beside})),
           grpc::StatusCode::UNAUTHENTICATED, "CN=stranger: ");
  }
}

TEST_F(TlsTest, AClientDoesNotTalkToAStranger) {
  write_pair("server", other_.sign("server"));
  serve_tls();
  expect(call({.tls = files("client")}), grpc::StatusCode::UNAVAILABLE, "certificate verify failed");
  expect(call(ClientSecurity{}), grpc::StatusCode::UNAVAILABLE, "");
}

TEST_F(TlsTest, AChangedServerCertificateCountsWithoutARestart) {
  write_pair("server", other_.sign("server"));
  serve_tls();
  ASSERT_FALSE(call({.tls = files("client")}).ok());
  write_pair("server", authority_.sign("server"));
  EXPECT_TRUE(soon([&] { return call({.tls = files("client")}).ok(); }));
}

TEST_F(TlsTest, AChangedAuthorityCountsWithoutARestart) {
  write("clients.ca", other_.certificate());
  serve({.tls = {.certificate = path("server.crt"), .key = path("server.key"), .ca = path("clients.ca")},
         .token_file = {},
         .insecure = false,
         .reload_s = 1});
  expect(call({.tls = files("client")}), grpc::StatusCode::UNAUTHENTICATED,
         "does not accept the client certificate CN=client: ");
  expect(call({.tls = only_ca(), .token_file = path("operator")}), grpc::StatusCode::UNAUTHENTICATED,
         "knows no tokens");
  write("clients.ca", authority_.certificate());
  EXPECT_TRUE(soon([&] { return call({.tls = files("client")}).ok(); }));
}

TEST_F(TlsTest, ARevokedTokenIsRefusedOnALivingConnection) {
  serve_tls();
  const auto credentials = channel_credentials({.tls = only_ca(), .token_file = path("operator")}, address());
  ASSERT_TRUE(credentials.ok()) << credentials.status();
  const auto stub = v1::PipelineService::NewStub(grpc::CreateChannel(address(), *credentials));
  const auto submit = [&] {
    grpc::ClientContext context;
    v1::SubmitResponse response;
    return stub->Submit(&context, {}, &response);
  };
  ASSERT_TRUE(submit().ok());
  write("tokens", viewer_.line + "\n");
  EXPECT_TRUE(soon([&] { return submit().error_code() == grpc::StatusCode::UNAUTHENTICATED; }));
  expect(submit(), grpc::StatusCode::UNAUTHENTICATED, "revoked");
  // The client's file is read for every call: a token that counts is enough.
  const NewToken fresh = make_token(Role::kOperator, "alice");
  write("tokens", fresh.line + "\n");
  write("operator", fresh.token + "\n");
  EXPECT_TRUE(soon([&] { return submit().ok(); }));
}

TEST_F(TlsTest, TokensWithoutTlsOnLoopback) {
  serve({.tls = {}, .token_file = path("tokens")});
  EXPECT_TRUE(call({.tls = {}, .token_file = path("operator")}).ok());
  expect(call({.tls = {}, .token_file = path("viewer")}), grpc::StatusCode::PERMISSION_DENIED, "board");
  expect(call(ClientSecurity{}), grpc::StatusCode::UNAUTHENTICATED, "--token-file");
}

TEST_F(TlsTest, HealthNeedsNoProof) {
  const auto listener = HealthListener::start("127.0.0.1:0");
  ASSERT_TRUE(listener.ok()) << listener.status();
  port_ = (*listener)->port();
  grpc::GenericStub stub(grpc::CreateChannel(address(), grpc::InsecureChannelCredentials()));
  // A HealthCheckRequest for the whole server is empty; its response's field 1 is 1 (SERVING) or 2 (NOT_SERVING).
  const auto serving = [&] {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice empty;
    const grpc::ByteBuffer request(&empty, 1);
    const auto check = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
    check->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    check->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    EXPECT_TRUE(status.ok()) << status.error_message();
    grpc::Slice bytes;
    EXPECT_TRUE(response.TrySingleSlice(&bytes).ok());
    return std::string(bytes.begin(), bytes.end()) == "\x08\x01";
  };
  EXPECT_FALSE(serving());
  (*listener)->set_serving(true);
  EXPECT_TRUE(serving());
  expect(call(ClientSecurity{}), grpc::StatusCode::UNIMPLEMENTED, "");
  EXPECT_FALSE(HealthListener::start("127.0.0.1:" + std::to_string(port_)).ok());
}

TEST_F(TlsTest, OptionsThatCannotWorkAreRefused) {
  write_pair("expired", authority_.sign("late", -7200, -3600));
  write_pair("early", authority_.sign("early", 3600, 7200));
  write("bad-tokens", "operator alice secret\n");
  struct Case {
    ServerSecurity security;
    const char* address;
    const char* message;
  };
  TlsFiles mixed = files("server");
  mixed.key = path("client.key");
  TlsFiles no_ca = files("server");
  no_ca.ca.clear();
  TlsFiles gone = files("gone");
  const std::vector<Case> cases = {
      {{}, "0.0.0.0:1", "can be reached from other machines: give --tls-cert"},
      {{.tls = {}, .token_file = path("tokens"), .insecure = true}, "0.0.0.0:1", "in the clear"},
      {{.tls = files("server"), .token_file = {}, .insecure = true}, "0.0.0.0:1", "exclude each other"},
      {{.tls = files("expired")}, "127.0.0.1:1", "the certificate ended on "},
      {{.tls = files("early")}, "127.0.0.1:1", "the certificate begins on "},
      {{.tls = mixed}, "127.0.0.1:1", "the key is not that of the certificate"},
      {{.tls = no_ca}, "127.0.0.1:1", "--tls-ca is missing"},
      {{.tls = gone}, "127.0.0.1:1", "--tls-cert: "},
      {{.tls = {}, .token_file = path("bad-tokens")}, "127.0.0.1:1", "bad-tokens: line 1"},
      {{.tls = {}, .token_file = path("gone")}, "127.0.0.1:1", "--token-file: "},
  };
  for (const Case& one : cases) {
    const auto made = server_credentials(one.security, one.address);
    ASSERT_FALSE(made.ok()) << one.message;
    EXPECT_THAT(std::string(made.status().message()), HasSubstr(one.message));
  }
  EXPECT_TRUE(server_credentials({.tls = {}, .token_file = {}, .insecure = true}, "0.0.0.0:1").ok());
  const auto client = channel_credentials({.tls = {}, .token_file = path("operator")}, "10.0.0.1:7600");
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("the token would go to 10.0.0.1:7600 in the clear"));
  EXPECT_THAT(std::string(channel_credentials({.tls = files("expired")}, "localhost:1").status().message()),
              HasSubstr("renew it"));
}

TEST(Loopback, Addresses) {
  for (const char* address : {"localhost:1", "127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "::1", "unix:/run/x"}) {
    EXPECT_TRUE(is_loopback(address)) << address;
  }
  for (const char* address : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.com:1", "host:1", ":1", ""}) {
    EXPECT_FALSE(is_loopback(address)) << address;
  }
  // A name that only looks like an address of this machine.
  EXPECT_FALSE(is_loopback("127.example.com:1"));
}

}  // namespace
}  // namespace gridquant::auth
