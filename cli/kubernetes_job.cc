// See kubernetes_job.h.
#include "cli/kubernetes_job.h"

#include <algorithm>
#include <map>
#include <span>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/yaml_text.h"
#include "stages/catalog/catalog.h"

namespace gridquant::cli {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxConfigMapBytes = size_t{1} << 20;  // Kubernetes' own limit, minus a little for the rest
constexpr size_t kMaxNameBytes = 57;                    // a pod's name adds six characters and must stay a DNS label
constexpr int64_t kGiB = int64_t{1} << 30;
constexpr int kUser = 10001;  // as in deploy/Containerfile

// The most that any stage needs, all its ranks together: they go one after the other through the same pod.
struct Needs {
  int cores = 0;
  bool some_without_cores = false;
  int64_t memory_bytes = 0;
  int ranks = 1;
  int gpus = 0;
  std::map<std::string, std::string> node_selector;
};

StatusOr<Needs> needs_of(const spec::Pipeline& pipeline) {
  Needs needs;
  for (const spec::StagePlan& stage : pipeline.stages) {
    needs.cores = std::max(needs.cores, stage.cores * stage.gang_ranks);
    needs.some_without_cores |= stage.cores == 0;
    needs.memory_bytes = std::max(needs.memory_bytes, stage.memory_bytes * stage.gang_ranks);
    needs.ranks = std::max(needs.ranks, stage.gang_ranks);
    needs.gpus = std::max(needs.gpus, stage.gpus_per_rank * stage.gang_ranks);
    for (const auto& [label, value] : stage.node_selector) {
      const auto [at, added] = needs.node_selector.emplace(label, value);
      if (!added && at->second != value) {
        return absl::InvalidArgumentError(absl::StrCat("stage ", stage.name, " wants nodes with ", label, "=", value,
                                                       ", another stage wants ", label, "=", at->second,
                                                       ": one pod has one node; submit it to a coordinator instead"));
      }
    }
  }
  return needs;
}

bool below(std::string_view path, std::string_view folder) {
  return path == folder || (path.starts_with(folder) && path.size() > folder.size() && path[folder.size()] == '/');
}

// Paths that the pod will not see.
Status check_paths(std::span<const stages::Field> fields, const nlohmann::json& with, const std::string& where,
                   const std::string& mount) {
  for (const stages::Field& field : fields) {
    const auto value = with.find(field.name);
    if (value == with.end()) continue;
    const std::string here = absl::StrCat(where, ".", field.name);
    if (field.type == stages::FieldType::kPath && value->is_string()) {
      const std::string path = value->get<std::string>();
      if (!below(path, mount)) {
        return absl::InvalidArgumentError(
            absl::StrCat(here, ": ", path, " is not in the pod, which has the volume under ", mount,
                         " and the pipeline file alone in ", kPodPipelineFolder, ": put it on the volume and give its ",
                         "path there (in the file or with -p), or pass --mount"));
      }
    }
    if (field.type == stages::FieldType::kObjectList && value->is_array()) {
      for (size_t i = 0; i < value->size(); ++i) {
        GQ_RETURN_IF_ERROR(check_paths(field.fields, (*value)[i], absl::StrCat(here, "[", i, "]"), mount));
      }
    }
  }
  return absl::OkStatus();
}

Status check_expressible(const spec::Pipeline& pipeline, const std::string& text, const JobOptions& options) {
  if (text.size() > kMaxConfigMapBytes - 4096) {
    return absl::InvalidArgumentError("the pipeline file is larger than a ConfigMap may be (1 MiB)");
  }
  if (pipeline.priority != 0 && options.priority_class.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the pipeline has priority ", pipeline.priority,
                                                   ", which a Job cannot say: name a WorkloadPriorityClass of Kueue "
                                                   "with --priority-class, or leave the priority out"));
  }
  const std::string& name = options.name.empty() ? pipeline.name : options.name;
  if (name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the name '", name, "' is longer than ", kMaxNameBytes, " characters: pass a shorter --name"));
  }
  for (const spec::StagePlan& stage : pipeline.stages) {
    const stages::StageInfo* info = stages::find_stage(stage.uses);
    if (info == nullptr) continue;
    GQ_RETURN_IF_ERROR(
        check_paths(info->fields, stage.with, absl::StrCat("stage ", stage.name, ": with"), options.mount));
  }
  return absl::OkStatus();
}

Status complete(Needs& needs, const JobOptions& options) {
  if (options.cores > 0) needs.cores = options.cores;
  if (options.memory_bytes > 0) needs.memory_bytes = options.memory_bytes;
  if (needs.cores == 0) {
    return absl::InvalidArgumentError(
        "no stage says how many cores it needs (resources.cores), and Kubernetes has to know: pass --cores N");
  }
  if (needs.memory_bytes == 0) {
    return absl::InvalidArgumentError(
        "no stage says how much memory it needs (resources.memory), and Kubernetes has to know: pass --memory SIZE");
  }
  return absl::OkStatus();
}

class JobWriter {
 public:
  JobWriter(const spec::Pipeline& pipeline, const JobOptions& options, const Needs& needs)
      : pipeline_(pipeline),
        options_(options),
        needs_(needs),
        name_(options.name.empty() ? pipeline.name : options.name),
        queue_(options.queue.empty() && pipeline.queue != "default" ? pipeline.queue : options.queue) {}

  ordered_json config_map(const std::string& text) const {
    return {{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata", metadata(labels())},
            {"data", {{"pipeline.yaml", text}}}};
  }

  ordered_json job() const {
    ordered_json labels_of_job = labels();
    if (!queue_.empty()) labels_of_job["kueue.x-k8s.io/queue-name"] = queue_;
    if (!options_.priority_class.empty()) labels_of_job["kueue.x-k8s.io/priority-class"] = options_.priority_class;
    ordered_json meta = metadata(labels_of_job);
    for (const auto& [key, value] : pipeline_.labels) meta["annotations"]["gridquant/" + key] = value;
    ordered_json spec;
    if (!queue_.empty()) spec["suspend"] = true;  // Kueue lets it go
    spec["backoffLimit"] = 6;
    spec["podReplacementPolicy"] = "Failed";  // the old pod is gone before a new one takes up its work folder
    if (pipeline_.deadline_ms > 0) spec["activeDeadlineSeconds"] = (pipeline_.deadline_ms + 999) / 1000;
    spec["ttlSecondsAfterFinished"] = 7 * 24 * 3600;
    spec["podFailurePolicy"] = pod_failure_policy();
    spec["template"] = {{"metadata", {{"labels", labels()}}}, {"spec", pod()}};
    return {{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"metadata", meta}, {"spec", spec}};
  }

 private:
  ordered_json labels() const {
    return {{"app.kubernetes.io/name", "gridquant"},
            {"app.kubernetes.io/instance", name_},
            {"app.kubernetes.io/component", "job"},
            {"app.kubernetes.io/part-of", "gridquant"},
            {"app.kubernetes.io/managed-by", "gridquant-render"}};
  }

  ordered_json metadata(const ordered_json& labels) const {
    ordered_json meta = {{"name", name_}};
    if (!options_.kubernetes_namespace.empty()) meta["namespace"] = options_.kubernetes_namespace;
    meta["labels"] = labels;
    return meta;
  }

  // Codes below 128 are permanent, of gridquant (1, 2, 3, 5), of its worker (10 to 15) and of a program that cannot be
  // started (126, 127); trying again helps with the others, and with 4: no coordinator answered. A pod that had to make
  // room is not counted.
  static ordered_json pod_failure_policy() {
    const ordered_json permanent = {1, 2, 3, 5, 10, 11, 12, 13, 14, 15, 126, 127};
    const ordered_json disruption = ordered_json::array({{{"type", "DisruptionTarget"}, {"status", "True"}}});
    return {{"rules",
             ordered_json::array(
                 {{{"action", "Ignore"}, {"onPodConditions", disruption}},
                  {{"action", "FailJob"},
                   {"onExitCodes", {{"containerName", "gridquant"}, {"operator", "In"}, {"values", permanent}}}}})}};
  }

  ordered_json pod() const {
    ordered_json pod = {{"restartPolicy", "Never"},
                        {"automountServiceAccountToken", false},
                        {"enableServiceLinks", false},
                        {"terminationGracePeriodSeconds", 60}};
    if (!needs_.node_selector.empty()) pod["nodeSelector"] = needs_.node_selector;
    if (needs_.gpus > 0) {
      pod["tolerations"] =
          ordered_json::array({{{"key", "nvidia.com/gpu"}, {"operator", "Exists"}, {"effect", "NoSchedule"}}});
    }
    pod["securityContext"] = {{"runAsNonRoot", true},
                              {"runAsUser", kUser},
                              {"runAsGroup", kUser},
                              {"fsGroup", kUser},
                              {"fsGroupChangePolicy", "OnRootMismatch"},
                              {"seccompProfile", {{"type", "RuntimeDefault"}}}};
    pod["containers"] = ordered_json::array({container()});
    pod["volumes"] = ordered_json::array({
        {{"name", "pipeline"}, {"configMap", {{"name", name_}}}},
        {{"name", "shared"}, {"persistentVolumeClaim", {{"claimName", options_.claim}}}},
        {{"name", "shm"},
         {"emptyDir", {{"medium", "Memory"}, {"sizeLimit", absl::StrCat(std::max(1, needs_.ranks), "Gi")}}}},
        {{"name", "tmp"}, {"emptyDir", ordered_json::object()}},
    });
    return pod;
  }

  ordered_json container() const {
    const auto mount = [](const char* name, const std::string& path, bool read_only) {
      ordered_json entry = {{"name", name}, {"mountPath", path}};
      if (read_only) entry["readOnly"] = true;
      return entry;
    };
    return {{"name", "gridquant"},
            {"image", options_.image},
            {"workingDir", options_.mount},
            {"args", arguments()},
            {"env", ordered_json::array({{{"name", "TMPDIR"}, {"value", "/tmp"}}})},
            {"resources", resources()},
            {"securityContext",
             {{"allowPrivilegeEscalation", false},
              {"readOnlyRootFilesystem", true},
              {"capabilities", {{"drop", ordered_json::array({"ALL"})}}}}},
            {"volumeMounts",
             ordered_json::array({mount("pipeline", kPodPipelineFolder, true), mount("shared", options_.mount, false),
                                  mount("shm", "/dev/shm", false), mount("tmp", "/tmp", false)})}};
  }

  ordered_json arguments() const {
    ordered_json arguments =
        ordered_json::array({"run", kPodPipelineFile, absl::StrCat("--workdir=", options_.mount, "/runs/", name_),
                             absl::StrCat("--output=", options_.mount, "/out/", name_)});
    // Left to itself a stage takes the machine's cores, of which the pod has a share.
    if (needs_.some_without_cores || options_.cores > 0) {
      arguments.push_back(absl::StrCat("--threads=", std::max(1, needs_.cores / needs_.ranks)));
    }
    for (const std::string& param : options_.params) {
      arguments.push_back("-p");
      arguments.push_back(param);
    }
    return arguments;
  }

  ordered_json resources() const {
    const std::string memory = needs_.memory_bytes % kGiB == 0 ? absl::StrCat(needs_.memory_bytes / kGiB, "Gi")
                                                               : absl::StrCat(needs_.memory_bytes);
    ordered_json limits = {{"memory", memory}};
    if (needs_.gpus > 0) limits["nvidia.com/gpu"] = std::to_string(needs_.gpus);
    return {{"requests", {{"cpu", std::to_string(needs_.cores)}, {"memory", memory}}}, {"limits", limits}};
  }

  const spec::Pipeline& pipeline_;
  const JobOptions& options_;
  const Needs& needs_;
  std::string name_, queue_;
};

}  // namespace

StatusOr<std::string> kubernetes_job(const spec::Pipeline& pipeline, const std::string& text,
                                     const JobOptions& options) {
  GQ_RETURN_IF_ERROR(check_expressible(pipeline, text, options));
  GQ_ASSIGN_OR_RETURN(Needs needs, needs_of(pipeline));
  GQ_RETURN_IF_ERROR(complete(needs, options));
  const JobWriter writer(pipeline, options, needs);
  return to_yaml(writer.config_map(text)) + "---\n" + to_yaml(writer.job());
}

}  // namespace gridquant::cli
