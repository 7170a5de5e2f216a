// mpirun's command line and what is let through to a gang's daemon.
#include "node/daemon/gang.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"

namespace gridquant::node {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kHnp = "\"938.0;tcp://192.0.2.2:53929;tcp6://[fd00::2]:50653\"";

TEST(GangTest, TheHeadsRanksAreMpirunsOwnAndTheOthersHaveAliases) {
  const std::vector<GangHost> hosts = {{"a", 2, "x:1"}, {"b", 1, "y:2"}, {"c", 3, "z:3"}};
  const std::vector<std::string> argv =
      mpirun_command({.gridquant = "/opt/gridquant", .interfaces = "lo", .grace_ms = 2'500, .as_root = true}, hosts,
                     {"/opt/worker", "--task", "t.json"});
  const std::string text = absl::StrJoin(argv, " ");
  EXPECT_EQ(argv[0], "/usr/bin/mpirun");
  EXPECT_THAT(text, HasSubstr("--host localhost:2,gq1:1,gq2:3 -np 6 /opt/worker --task t.json"));
  EXPECT_THAT(text, HasSubstr("--leave-session-attached"));
  EXPECT_THAT(text, HasSubstr("--allow-run-as-root"));
  // Seconds: idle, between probes; probes. A cut link is seen after 2 + 3 * 1.
  EXPECT_THAT(text, HasSubstr("--mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 "
                              "--mca oob_tcp_keepalive_probes 3"));
  EXPECT_THAT(text, HasSubstr("--mca btl_tcp_if_include lo"));
  EXPECT_THAT(text, HasSubstr("--mca odls_base_sigkill_timeout 3"));
  EXPECT_THAT(argv, testing::Contains("/opt/gridquant rsh-agent"));
}

TEST(GangTest, NodesOfOneMachineShareNoMemory) {
  const auto text_for = [](const std::vector<GangHost>& hosts) {
    return absl::StrJoin(mpirun_command({.gridquant = "g"}, hosts, {"w"}), " ");
  };
  EXPECT_THAT(text_for({{"a", 2, "127.0.0.1:1"}, {"b", 1, "127.0.0.1:2"}}), HasSubstr("--mca btl tcp,self "));
  EXPECT_THAT(text_for({{"a", 2, "10.0.0.1:1"}, {"b", 1, "10.0.0.2:1"}}), HasSubstr("--mca btl tcp,vader,self "));
  EXPECT_THAT(text_for({{"a", 2, "127.0.0.1:1"}}), HasSubstr("--mca btl tcp,vader,self "));
}

TEST(GangTest, ATicketTellsTheLauncherWhereAnAliasIs) {
  const auto ticket = read_ticket(write_ticket(7, "secret", std::vector<GangHost>{{"a", 1, "x:1"}, {"b", 1, "y:2"}}));
  ASSERT_TRUE(ticket.ok());
  EXPECT_EQ(ticket->epoch, 7u);
  EXPECT_EQ(ticket->secret, "secret");
  ASSERT_EQ(ticket->aliases.size(), 1u);
  EXPECT_EQ(ticket->aliases.at("gq1").node, "b");
  EXPECT_EQ(ticket->aliases.at("gq1").address, "y:2");
  for (const char* bad : {"", "{}", "[]", "{\"epoch\":\"x\"}", "{\"epoch\":1,\"secret\":\"\",\"aliases\":{\"a\":1}}"}) {
    EXPECT_FALSE(read_ticket(bad).ok()) << bad;
  }
}

TEST(GangTest, ArgumentsLoseTheirQuotesWithoutAShell) {
  const auto arguments = daemon_arguments(std::vector<std::string>{" orted", "-mca", "orte_hnp_uri", kHnp});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  // Its own remote launcher, as mpirun hands it on.
  const auto own =
      daemon_arguments(std::vector<std::string>{"orted", "-mca", "plm_rsh_agent", "\"/opt/g q rsh-agent\""});
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_THAT(*admit_daemon_arguments(*own), testing::IsEmpty());
  EXPECT_THAT(*arguments, ElementsAre("-mca", "orte_hnp_uri", "938.0;tcp://192.0.2.2:53929;tcp6://[fd00::2]:50653"));
}

TEST(GangTest, TheLauncherWithItsSpaceIsNotPassedOn) {
  const auto arguments = daemon_arguments(std::vector<std::string>{
      " orted", "-mca", "plm_rsh_agent", "\"/usr/bin/gridquant rsh-agent\"", "-mca", "plm", "rsh"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_THAT(*arguments, ElementsAre("-mca", "plm", "rsh"));
}

TEST(GangTest, WhatNeedsAShellOrIsNotOrtedIsRefused) {
  for (const std::vector<std::string>& bad : std::vector<std::vector<std::string>>{{},
                                                                                   {"sh"},
                                                                                   {"/tmp/orted"},
                                                                                   {"orted; rm"},
                                                                                   {" orted", "$(id)"},
                                                                                   {" orted", "`id`"},
                                                                                   {" orted", "\"a\"b\""},
                                                                                   {" orted", "a b"},
                                                                                   {" orted", "a|b"},
                                                                                   {" orted", "a&"},
                                                                                   {" orted", ">x"},
                                                                                   {" orted", "a\nb"},
                                                                                   {" orted", "'a'"},
                                                                                   {" orted", "a\\b"}}) {
    EXPECT_EQ(daemon_arguments(bad).status().code(), absl::StatusCode::kPermissionDenied) << absl::StrJoin(bad, " ");
  }
}

TEST(GangTest, AnAgentAdmitsParametersOfMpirunOnly) {
  const auto admit = [](const std::vector<std::string>& arguments) { return admit_daemon_arguments(arguments); };
  const auto good = admit({"-mca", "ess", "env", "--mca", "plm_rsh_agent", "/evil agent", "-mca", "btl", "tcp,self"});
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_THAT(*good, ElementsAre("-mca", "ess", "env", "-mca", "btl", "tcp,self"));
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{{"--daemonize"},
                                             {"-mca", "ess"},
                                             {"-mca"},
                                             {"--prefix", "/evil", "x"},
                                             {"-mca", "orte_launch_agent", "/evil"},
                                             {"-mca", "mca_base_component_path", "/evil"},
                                             {"-mca", "plm_rsh_args", "x"},
                                             {"-mca", "btl", "a b"},
                                             {"-mca", "btl", std::string(20'000, 'x')},
                                             {"-mca", "", "x"},
                                             std::vector<std::string>(300, "-mca")}) {
    EXPECT_EQ(admit(bad).status().code(), absl::StatusCode::kPermissionDenied) << absl::StrJoin(bad, " ").substr(0, 80);
  }
}

TEST(GangTest, VariablesOfOpenMpiOnlyAndNoParameters) {
  EXPECT_TRUE(admit_daemon_variable("PMIX_SERVER_URI").ok());
  for (const char* bad : {"PATH", "LD_PRELOAD", "OMPI_MCA_mca_base_component_path", "ompi_x", ""}) {
    EXPECT_FALSE(admit_daemon_variable(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace gridquant::node
