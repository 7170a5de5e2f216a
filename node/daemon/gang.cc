// See gang.h. The keep-alive values: a cut link is seen after about five seconds; Open MPI's own take eight minutes.
#include "node/daemon/gang.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace gridquant::node {
namespace {

using nlohmann::json;

constexpr size_t kMaxArguments = 256, kMaxArgumentBytes = 16 * 1024;
constexpr std::string_view kLauncherParameter = "plm_rsh_agent";

// Names, or, with a * at the end, beginnings of names of the parameters that a daemon may be given.
constexpr std::array<std::string_view, 21> kParameters = {
    "ess",
    "ess_base_*",
    "orte_node_regex",
    "orte_hnp_uri",
    "orte_parent_uri",
    "orte_leave_session_attached",
    "orte_ess_*",
    "orte_keep_fqdn_hostnames",
    "plm",
    "plm_rsh_no_tree_spawn",
    "hwloc_base_binding_policy",
    "rmaps_base_*",
    "pmix",
    "if_base_do_not_resolve",
    "oob_tcp_*",
    "btl",
    "btl_tcp_*",
    "btl_vader_backing_directory",
    "osc_sm_backing_directory",
    "odls_base_sigkill_timeout",
    "mpi_yield_when_idle",
};

std::string alias_of(size_t host) {
  return absl::StrCat("gq", host);
}

// Several nodes on one machine, as in tests: Open MPI names shared segments by machine and local rank, so that ranks of
// two nodes would take each other's.
bool share_a_machine(std::span<const GangHost> hosts) {
  std::set<std::string> machines;
  for (const GangHost& host : hosts) machines.insert(host.address.substr(0, host.address.rfind(':')));
  return machines.size() < hosts.size();
}

bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_.,:;=/@%+^[]()*-").find(c) != std::string_view::npos;
  });
}

bool is_admitted(std::string_view name) {
  return std::any_of(kParameters.begin(), kParameters.end(), [&](std::string_view known) {
    return known.ends_with('*') ? name.starts_with(known.substr(0, known.size() - 1)) : name == known;
  });
}

}  // namespace

std::vector<std::string> mpirun_command(const GangOptions& options, std::span<const GangHost> hosts,
                                        const std::vector<std::string>& worker) {
  std::vector<std::string> places;
  int ranks = 0;
  for (size_t i = 0; i < hosts.size(); ++i) {
    places.push_back(absl::StrCat(i == 0 ? "localhost" : alias_of(i), ":", hosts[i].ranks));
    ranks += hosts[i].ranks;
  }
  std::vector<std::string> argv = {options.mpirun};
  if (options.as_root) argv.emplace_back("--allow-run-as-root");
  // A prefix would need a shell on the other node; a daemon that is not attached would leave the hands of its agent.
  for (const char* one : {"--noprefix", "--leave-session-attached", "--bind-to", "none"}) argv.emplace_back(one);
  const auto set = [&](const char* name, const std::string& value) { argv.insert(argv.end(), {"--mca", name, value}); };
  set("plm", "rsh");
  set("plm_rsh_agent", absl::StrCat(options.gridquant, " rsh-agent"));
  set("plm_rsh_no_tree_spawn", "1");
  set("if_base_do_not_resolve", "1");
  set("oob_tcp_keepalive_time", "2");
  set("oob_tcp_keepalive_intvl", "1");
  set("oob_tcp_keepalive_probes", "3");
  set("btl", share_a_machine(hosts) ? "tcp,self" : "tcp,vader,self");
  set("mpi_yield_when_idle", "1");
  set("odls_base_sigkill_timeout", absl::StrCat(std::max<int64_t>(1, (options.grace_ms + 999) / 1000)));
  if (!options.interfaces.empty()) {
    set("oob_tcp_if_include", options.interfaces);
    set("btl_tcp_if_include", options.interfaces);
  }
  if (!options.shared_folder.empty()) {
    set("btl_vader_backing_directory", options.shared_folder);
    set("osc_sm_backing_directory", options.shared_folder);
  }
  argv.insert(argv.end(), {"--host", absl::StrJoin(places, ","), "-np", absl::StrCat(ranks)});
  argv.insert(argv.end(), worker.begin(), worker.end());
  return argv;
}

std::string write_ticket(uint64_t epoch, const std::string& secret, std::span<const GangHost> hosts) {
  json aliases = json::object();
  for (size_t i = 1; i < hosts.size(); ++i) {
    aliases[alias_of(i)] = {{"node", hosts[i].node}, {"address", hosts[i].address}};
  }
  return json({{"epoch", epoch}, {"secret", secret}, {"aliases", aliases}}).dump();
}

StatusOr<GangTicket> read_ticket(const std::string& text) {
  const json ticket = json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    GangTicket result{.epoch = ticket.at("epoch").get<uint64_t>(), .secret = ticket.at("secret").get<std::string>()};
    for (const auto& [alias, member] : ticket.at("aliases").items()) {
      result.aliases[alias] = {member.at("node").get<std::string>(), member.at("address").get<std::string>()};
    }
    return result;
  } catch (const json::exception&) {
    return absl::InvalidArgumentError(
        absl::StrCat(kGangVariable, " is not what a node's agent gives its mpirun; rsh-agent is not started by hand"));
  }
}

StatusOr<std::vector<std::string>> daemon_arguments(std::span<const std::string> from_mpirun) {
  if (from_mpirun.empty() || (from_mpirun[0] != "orted" && from_mpirun[0] != " orted")) {
    return absl::PermissionDeniedError(
        absl::StrCat("only orted is started on another node, not '", from_mpirun.empty() ? "" : from_mpirun[0], "'"));
  }
  std::vector<std::string> arguments;
  for (size_t i = 1; i < from_mpirun.size(); ++i) {
    std::string_view text = from_mpirun[i];
    if (text == kLauncherParameter && !arguments.empty()) {  // it launches nothing further; the value has a space in it
      arguments.pop_back();                                  // -mca
      ++i;
      continue;
    }
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
    if (!is_plain(text)) {
      return absl::PermissionDeniedError("an argument of orted would need a shell: '" + std::string(text) + "'");
    }
    arguments.emplace_back(text);
  }
  return arguments;
}

StatusOr<std::vector<std::string>> admit_daemon_arguments(std::span<const std::string> arguments) {
  if (arguments.size() > kMaxArguments) return absl::PermissionDeniedError("too many arguments of orted");
  std::vector<std::string> admitted;
  for (size_t i = 0; i < arguments.size(); i += 3) {
    if ((arguments[i] != "-mca" && arguments[i] != "--mca") || i + 2 >= arguments.size()) {
      return absl::PermissionDeniedError(
          absl::StrCat("orted is given parameters (-mca) only, not '", arguments[i], "'"));
    }
    const std::string &name = arguments[i + 1], &value = arguments[i + 2];
    if (name == kLauncherParameter) continue;  // it launches nothing further
    if (!is_admitted(name)) return absl::PermissionDeniedError(absl::StrCat("orted may not be given '", name, "'"));
    if (!is_plain(value) || value.size() > kMaxArgumentBytes) {
      return absl::PermissionDeniedError(
          absl::StrCat("the value of orted's parameter '", name, "' is not a plain one"));
    }
    admitted.insert(admitted.end(), {arguments[i], name, value});
  }
  return admitted;
}

Status admit_daemon_variable(const std::string& name) {
  const bool known = name.starts_with("OMPI_") || name.starts_with("PMIX_") || name.starts_with("PRTE_");
  // Parameters come as arguments, where their names are looked at.
  if (known && name.find("_MCA_") == std::string::npos) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("the variable ", name, " may not be set for orted"));
}

}  // namespace gridquant::node
