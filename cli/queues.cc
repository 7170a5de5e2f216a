// gridquant queues: the queues of a coordinator and their quotas.
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

struct SetOptions {
  std::string name;
  int cores = 0, gpus = 0;
  uint64_t memory_bytes = 0;
};

std::string limit(int64_t value, const std::string& unit = "") {
  return value > 0 ? std::to_string(value) + unit : "no limit";
}

void list_queues(Invocation& invocation, const Place& place, const std::string& format) {
  const StatusOr<v1::ListQueuesResponse> answer = connect(place)->call(v1::ListQueuesRequest());
  if (!answer.ok()) return fail(invocation, format, answer.status(), exit_code_of_refusal(answer.status()));
  json list = json::array();
  std::vector<std::vector<std::string>> rows = {{"QUEUE", "CORES", "GPUS", "MEMORY"}};
  for (const v1::Queue& queue : answer->queues()) {
    list.push_back({{"queue", queue.name()},
                    {"cores", queue.cores()},
                    {"gpus", queue.gpus()},
                    {"memoryBytes", queue.memory_bytes()}});
    rows.push_back(
        {queue.name(), limit(queue.cores()), limit(queue.gpus()), limit(queue.memory_bytes() >> 20, " MiB")});
  }
  if (print_data(invocation, format, list)) return;
  if (list.empty()) {
    invocation.err << "no queue has a quota\n";
  } else {
    print_table(invocation, rows);
  }
}

void set_queue(Invocation& invocation, const Place& place, const SetOptions& options) {
  v1::SetQueueRequest request;
  request.mutable_queue()->set_name(options.name);
  request.mutable_queue()->set_cores(options.cores);
  request.mutable_queue()->set_gpus(options.gpus);
  request.mutable_queue()->set_memory_bytes(static_cast<int64_t>(options.memory_bytes));
  const Status status = connect(place)->call(request).status();
  if (!status.ok()) return fail(invocation, "text", status, exit_code_of_refusal(status));
  invocation.out << "queue " << options.name << ": cores " << limit(options.cores) << ", GPUs " << limit(options.gpus)
                 << ", memory " << limit(static_cast<int64_t>(options.memory_bytes >> 20), " MiB") << "\n";
}

}  // namespace

void add_queues(Command app, Invocation& invocation) {
  const Command queues = app.add_command("queues", "The queues of a coordinator: list, set");
  queues.require_command();
  const Command list = queues.add_command("list", "Queues that have a quota");
  const auto format = std::make_shared<std::string>();
  add_view_format_option(list, *format);
  const auto list_place = add_coordinator_options(list, invocation);
  list.on_given([&invocation, list_place, format] { list_queues(invocation, *list_place, *format); });

  const Command set = queues.add_command("set", "Sets what a queue's running stages may hold together");
  const auto options = std::make_shared<SetOptions>();
  set.add_option("QUEUE", options->name, "Queue; a pipeline names it as spec.queue (default: default)").required();
  set.add_option("--cores", options->cores, "0 (default): no limit").in_range(0, 1'000'000);
  set.add_option("--gpus", options->gpus, "0 (default): no limit").in_range(0, 1'000'000);
  set.add_option("--memory", options->memory_bytes, "Such as 64Gi; 0 (default): no limit").in_bytes();
  const auto set_place = add_coordinator_options(set, invocation);
  set.on_given([&invocation, set_place, options] { set_queue(invocation, *set_place, *options); });
}

}  // namespace gridquant::cli
