// gridquant nodes: the machines of a coordinator: list, drain, undrain, forget.
#include <bitset>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"
#include "coordinator/deliver/times.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

int bits_of(uint64_t mask) {
  return static_cast<int>(std::bitset<64>(mask).count());
}

std::string state_of(const v1::Node& node) {
  std::string state = !node.alive() ? "lost" : node.leaving() ? "leaving" : node.draining() ? "draining" : "ready";
  if (state == "draining" && node.attempts().empty()) state = "drained";
  for (const v1::NodeAttempt& attempt : node.attempts()) {
    if (attempt.dirty()) return state + ", quarantined";
  }
  return state;
}

json node_json(const v1::Node& node) {
  const v1::Inventory& has = node.inventory();
  json attempts = json::array();
  for (const v1::NodeAttempt& attempt : node.attempts()) {
    attempts.push_back({{"run", attempt.run()},
                        {"stage", attempt.stage()},
                        {"ranks", attempt.ranks()},
                        {"quarantined", attempt.dirty()}});
  }
  json out = {{"node", node.name()},
              {"state", state_of(node)},
              {"alive", node.alive()},
              {"draining", node.draining()},
              {"cores", has.cores()},
              {"coresUsed", node.cores_used()},
              {"memoryBytes", has.memory_bytes()},
              {"memoryBytesUsed", node.memory_bytes_used()},
              {"gpus", has.gpus()},
              {"gpusUsed", bits_of(node.gpus_used())},
              {"labels", std::map<std::string, std::string>(has.labels().begin(), has.labels().end())},
              {"address", has.agent_address()},
              {"version", has.version()},
              {"cpu", has.cpu_model()},
              {"cpuKind", has.cpu_kind()},
              {"attempts", std::move(attempts)}};
  if (node.last_heard_ms() > 0) out["lastHeard"] = deliver::show_utc(node.last_heard_ms());
  if (node.drain_deadline_ms() > 0) out["drainDeadline"] = deliver::show_utc(node.drain_deadline_ms());
  return out;
}

std::string used_of(int64_t used, int64_t all) {
  return std::to_string(used) + "/" + std::to_string(all);
}

std::vector<std::string> row_of(const v1::Node& node, bool wide) {
  const v1::Inventory& has = node.inventory();
  std::string runs;
  for (const v1::NodeAttempt& attempt : node.attempts()) {
    runs += (runs.empty() ? "" : ", ") + attempt.run() + "/" + attempt.stage();
  }
  std::vector<std::string> row = {node.name(), state_of(node), used_of(node.cores_used(), has.cores()),
                                  used_of(bits_of(node.gpus_used()), has.gpus()),
                                  used_of(node.memory_bytes_used() >> 20, has.memory_bytes() >> 20) + " MiB"};
  if (wide) {
    std::string labels;
    for (const auto& [key, value] : std::map<std::string, std::string>(has.labels().begin(), has.labels().end())) {
      labels += (labels.empty() ? "" : ",") + key + "=" + value;
    }
    const std::vector<std::string> more = {node.last_heard_ms() > 0 ? deliver::show_utc(node.last_heard_ms()) : "never",
                                           has.agent_address(), has.version(), has.cpu_kind(), labels};
    row.insert(row.end(), more.begin(), more.end());
  }
  row.push_back(runs);
  return row;
}

void list_nodes(Invocation& invocation, const Place& place, const std::string& format) {
  const StatusOr<v1::ListNodesResponse> answer = connect(place)->call(v1::ListNodesRequest());
  if (!answer.ok()) return fail(invocation, format, answer.status(), exit_code_of_refusal(answer.status()));
  json list = json::array();
  for (const v1::Node& node : answer->nodes()) list.push_back(node_json(node));
  if (print_data(invocation, format, list)) return;
  if (list.empty()) {
    invocation.err << "no node has joined yet: start gridquant node --coordinator " << place.coordinator << "\n";
    return;
  }
  const bool wide = format == "wide";
  std::vector<std::vector<std::string>> rows = {{"NODE", "STATE", "CORES", "GPUS", "MEMORY"}};
  if (wide) rows[0].insert(rows[0].end(), {"HEARD", "ADDRESS", "VERSION", "CPU", "LABELS"});
  rows[0].push_back("RUNS");
  for (const v1::Node& node : answer->nodes()) rows.push_back(row_of(node, wide));
  print_table(invocation, rows);
}

void add_list_nodes(Command nodes, Invocation& invocation) {
  const Command command = nodes.add_command("list", "Nodes with what they have and what they run");
  const auto format = std::make_shared<std::string>();
  add_view_format_option(command, *format);
  const auto place = add_coordinator_options(command, invocation);
  command.on_given([&invocation, place, format] { list_nodes(invocation, *place, *format); });
}

// Asks for a change of request.node() and prints that it `is_done`.
template <typename Request>
void tell(Invocation& invocation, const Place& place, const Request& request, const char* is_done) {
  const Status status = connect(place)->call(request).status();
  if (!status.ok()) return fail(invocation, "text", status, exit_code_of_refusal(status));
  invocation.out << request.node() << ' ' << is_done << '\n';
}

void add_drain(Command nodes, Invocation& invocation) {
  const Command command = nodes.add_command("drain", "Starts nothing new on a node; what runs there goes on");
  const auto name = std::make_shared<std::string>();
  const auto deadline_ms = std::make_shared<int64_t>(0);
  command.add_option("NODE", *name, "Node").required();
  command.add_option("--deadline", *deadline_ms, "Then what still runs there is stopped and starts elsewhere: 90s, 10m")
      .duration_in_ms();
  const auto place = add_coordinator_options(command, invocation);
  command.on_given([&invocation, place, name, deadline_ms] {
    v1::DrainNodeRequest request;
    request.set_node(*name);
    request.set_deadline_ms(*deadline_ms);
    tell(invocation, *place, request, "is being drained");
  });
}

void add_undrain(Command nodes, Invocation& invocation) {
  const Command command = nodes.add_command("undrain", "Takes a drain back");
  const auto name = std::make_shared<std::string>();
  command.add_option("NODE", *name, "Node").required();
  const auto place = add_coordinator_options(command, invocation);
  command.on_given([&invocation, place, name] {
    v1::UndrainNodeRequest request;
    request.set_node(*name);
    tell(invocation, *place, request, "takes work again");
  });
}

void add_forget(Command nodes, Invocation& invocation) {
  const Command command = nodes.add_command("forget", "Takes a lost node off the list");
  const auto name = std::make_shared<std::string>();
  command.add_option("NODE", *name, "Node").required();
  const auto place = add_coordinator_options(command, invocation);
  command.set_footer(
      "What ran there counts as gone, so that its runs can be deleted. If it comes back, it joins as a new one.");
  command.on_given([&invocation, place, name] {
    v1::ForgetNodeRequest request;
    request.set_node(*name);
    tell(invocation, *place, request, "is forgotten");
  });
}

}  // namespace

void add_nodes(Command app, Invocation& invocation) {
  const Command command = app.add_command("nodes", "The nodes of a coordinator: list, drain, undrain, forget");
  command.require_command();
  add_list_nodes(command, invocation);
  add_drain(command, invocation);
  add_undrain(command, invocation);
  add_forget(command, invocation);
}

}  // namespace gridquant::cli
