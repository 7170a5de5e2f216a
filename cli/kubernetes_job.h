// A pipeline as a Kubernetes Job: one pod that does `gridquant run` on one machine, and a ConfigMap with the pipeline
// file. Pure: text in, text out. Clusters with a coordinator are in deploy/kubernetes, not here.
#pragma once

#include <string>
#include <vector>

#include "coordinator/spec/pipeline.h"
#include "engine/base/status.h"

namespace gridquant::cli {

struct JobOptions {
  std::string name;  // of the Job, the ConfigMap and the folders; "": the pipeline's
  std::string image;
  std::string kubernetes_namespace;  // "": left to kubectl
  std::string queue;                 // of Kueue; "": none, or the pipeline's own if that is not "default"
  std::string priority_class;        // of Kueue
  std::string claim = "gridquant-shared";
  std::string mount = "/gridquant";  // where the claim is in the pod
  int cores = 0;                     // 0: the most that a stage says
  int64_t memory_bytes = 0;          // likewise
  std::vector<std::string> params;   // "key=value", for the pod's command line
};

inline constexpr char kPodPipelineFolder[] = "/etc/gridquant/pipeline";
inline constexpr char kPodPipelineFile[] = "/etc/gridquant/pipeline/pipeline.yaml";

// `pipeline` was parsed from `text` as the pod will: file kPodPipelineFile, working folder `mount`. InvalidArgument:
// what a Job in one pod cannot express, or what Kubernetes has to know and nobody says.
StatusOr<std::string> kubernetes_job(const spec::Pipeline& pipeline, const std::string& text,
                                     const JobOptions& options);

}  // namespace gridquant::cli
