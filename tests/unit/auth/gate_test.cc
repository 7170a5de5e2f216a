// Tokens, roles and certificates without a network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <google/protobuf/descriptor.h>

#include "coordinator/auth/gate.h"
#include "engine/base/certificate.h"
#include "engine/base/digest.h"
#include "gridquant/v1/agent.pb.h"
#include "gridquant/v1/node.pb.h"
#include "gridquant/v1/pipeline.pb.h"
#include "tests/unit/auth/make_certificates.h"

namespace gridquant::auth {
namespace {

using testing::HasSubstr;

constexpr char kSubmit[] = "/gridquant.v1.PipelineService/Submit";
constexpr char kGetRun[] = "/gridquant.v1.PipelineService/GetRun";

std::string line(const std::string& role, const std::string& name, const std::string& token) {
  return role + " " + name + " sha256:" + base::digest_of(token) + "\n";
}

class GateTest : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(base::write_file_atomically(*env_, path, text).ok());
    clock_.advance_ms(10'000);  // longer than files are remembered
  }
  void SetUp() override {
    clock_.advance_ms(1'000);
    write("/tokens", "# people\n" + line("operator", "alice", "a-token") + "\n" + line("viewer", "board", "b-token"));
    write("/ca", authority_.certificate());
  }
  static Caller token(const std::string& token) { return {.certificates = {}, .authorization = "Bearer " + token}; }
  static Caller certificate(const KeyPair& pair) { return {.certificates = pair.certificate, .authorization = {}}; }
  void expect(const char* method, const Caller& caller, absl::StatusCode code, const char* message) {
    const Status status = gate_.admit(method, caller);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  const Authority authority_{"cluster"};
  const std::unique_ptr<base::Env> env_ = base::make_memory_env();
  base::ManualClock clock_;
  Gate gate_{{.ca_file = "/ca", .token_file = "/tokens"}, *env_, clock_};
};

TEST_F(GateTest, RolesOfTokens) {
  EXPECT_TRUE(gate_.admit(kSubmit, token("a-token")).ok());
  EXPECT_TRUE(gate_.admit(kGetRun, token("a-token")).ok());
  EXPECT_TRUE(gate_.admit(kGetRun, token("b-token")).ok());
  expect(kSubmit, token("b-token"), absl::StatusCode::kPermissionDenied,
         "board may look and not change: Submit needs the token of an operator");
}

TEST_F(GateTest, StrangersAreToldWhatToPass) {
  expect(kGetRun, {}, absl::StatusCode::kUnauthenticated, "--token-file FILE");
  expect(kGetRun, {}, absl::StatusCode::kUnauthenticated, "--tls-cert FILE");
  expect(kGetRun, token("c-token"), absl::StatusCode::kUnauthenticated, "not valid: it was revoked");
  expect(kGetRun, token(""), absl::StatusCode::kUnauthenticated, "not valid");
  expect(kGetRun, {.certificates = {}, .authorization = "Basic YTpi"}, absl::StatusCode::kUnauthenticated, "bearer");
  EXPECT_TRUE(gate_.admit("/grpc.health.v1.Health/Check", {}).ok());
  EXPECT_FALSE(gate_.admit("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", {}).ok());
}

TEST_F(GateTest, UnknownMethodsAreAnOperators) {
  expect("/gridquant.v1.PipelineService/Invented", token("b-token"), absl::StatusCode::kPermissionDenied, "Invented");
  EXPECT_TRUE(gate_.admit("/other/Method", token("a-token")).ok());
}

TEST_F(GateTest, ARevokedTokenCountsNoMore) {
  ASSERT_TRUE(gate_.admit(kSubmit, token("a-token")).ok());
  write("/tokens", line("viewer", "board", "b-token"));
  expect(kSubmit, token("a-token"), absl::StatusCode::kUnauthenticated, "revoked");
  EXPECT_TRUE(gate_.admit(kGetRun, token("b-token")).ok());
  write("/tokens", line("operator", "board", "b-token"));
  EXPECT_TRUE(gate_.admit(kSubmit, token("b-token")).ok());
}

TEST_F(GateTest, ABrokenTokenFileLetsNobodyIn) {
  write("/tokens", line("operator", "alice", "a-token") + "operator bob a-token\n");
  expect(kSubmit, token("a-token"), absl::StatusCode::kUnavailable, "line 2");
  ASSERT_TRUE(env_->remove_file("/tokens").ok());
  clock_.advance_ms(10'000);
  expect(kSubmit, token("a-token"), absl::StatusCode::kUnavailable, "/tokens");
}

TEST_F(GateTest, Certificates) {
  EXPECT_TRUE(gate_.admit(kSubmit, certificate(authority_.sign("node-1"))).ok());
  const Authority other("other");
  expect(kSubmit, certificate(other.sign("node-2")), absl::StatusCode::kUnauthenticated,
         "CN=node-2: unable to get local issuer certificate: use one that is valid now");
  expect(kSubmit, certificate(authority_.sign("node-3", -7200, -3600)), absl::StatusCode::kUnauthenticated,
         "CN=node-3: certificate has expired");
  expect(kSubmit, certificate(authority_.sign("node-4", 3600, 7200)), absl::StatusCode::kUnauthenticated,
         "CN=node-4: certificate is not yet valid");
  expect(kSubmit, {.certificates = "nonsense", .authorization = {}}, absl::StatusCode::kUnauthenticated, "no cert");
  write("/ca", other.certificate());
  EXPECT_TRUE(gate_.admit(kSubmit, certificate(other.sign("node-2"))).ok());
  EXPECT_FALSE(gate_.admit(kSubmit, certificate(authority_.sign("node-1"))).ok());
}

TEST_F(GateTest, ATokenThatIsNotValidIsNotSavedByACertificate) {
  Caller caller = token("c-token");
  caller.certificates = authority_.sign("node-1").certificate;
  expect(kSubmit, caller, absl::StatusCode::kUnauthenticated, "not valid");
}

TEST(AccessTable, NamesEveryMethodOfTheProtocol) {
  int methods = 0;
  for (const google::protobuf::FileDescriptor* file :
       {v1::SubmitRequest::descriptor()->file(), v1::SessionRequest::descriptor()->file(),
        v1::RunDaemonRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m, ++methods) {
        const std::string path = "/" + file->service(s)->full_name() + "/" + file->service(s)->method(m)->name();
        EXPECT_TRUE(is_listed(path)) << path << " is not in coordinator/auth/gate.cc";
      }
    }
  }
  EXPECT_GE(methods, 20);
  EXPECT_FALSE(is_listed("/gridquant.v1.PipelineService/Invented"));
}

TEST(Tokens, AreMadeAndFound) {
  const NewToken made = make_token(Role::kOperator, "alice");
  EXPECT_EQ(made.token.size(), 3 + 64u);
  EXPECT_NE(made.token, make_token(Role::kOperator, "alice").token);
  const StatusOr<TokenTable> table = TokenTable::parse(made.line + "\n");
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_NE(table->find(made.token), nullptr);
  EXPECT_EQ(table->find(made.token)->name, "alice");
  EXPECT_EQ(table->find(made.token.substr(1)), nullptr);
  EXPECT_EQ(*read_token("  " + made.token + "\r\n"), made.token);
  EXPECT_FALSE(read_token("\n").ok());
  EXPECT_FALSE(read_token("two\nlines\n").ok());
}

TEST(Tokens, EveryMistakeNamesItsLine) {
  const std::string good = "viewer a sha256:" + std::string(64, '0') + "\n";
  for (const std::string& bad :
       {std::string("viewer"), "owner a sha256:" + std::string(64, '1'), std::string("viewer a 00"),
        "viewer a sha256:" + std::string(63, '1'), good.substr(0, good.size() - 1)}) {
    EXPECT_THAT(std::string(TokenTable::parse(good + bad).status().message()), HasSubstr("line 2: ")) << bad;
  }
}

TEST(Certificate, KeysAndCertificatesMustFit) {
  const Authority authority("cluster");
  const KeyPair one = authority.sign("one"), two = authority.sign("two");
  EXPECT_TRUE(base::check_key_pair(one.certificate, one.key).ok());
  EXPECT_THAT(std::string(base::check_key_pair(one.certificate, two.key).message()), HasSubstr("not that of"));
  EXPECT_THAT(std::string(base::check_key_pair(one.certificate, "x").message()), HasSubstr("no private key"));
  EXPECT_EQ(base::read_certificate(one.certificate)->subject, "CN=one");
}

}  // namespace
}  // namespace gridquant::auth
