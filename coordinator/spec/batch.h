// kind: Batch: one pipeline over many parameters. From the text of a batch file to its members, or to every error in
// it; and from members to pipelines.
//
//     apiVersion: gridquant/v1
//     kind: Batch
//     metadata: {name: sweep}
//     spec:
//       pipeline: quantize.yaml        # relative to this file, as paths among the parameters are
//       params: {samples: 512}         # of every run
//       matrix: {model: [models/a, models/b], bits: [3, 4]}
//       maxParallel: 2                 # runs at a time; absent: no limit
//       failFast: true                 # the first failure cancels the other runs
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/spec/spec.h"

namespace gridquant::spec {

struct BatchMember {
  std::string name;                           // "sweep-a-3": batch, then the slugs of the matrix's values
  std::map<std::string, std::string> params;  // as -p would give them
};

struct Batch {
  std::string name;
  std::map<std::string, std::string> labels;
  std::string pipeline;  // absolute path
  std::string folder;    // of the batch file, absolute: what paths among the parameters are relative to
  int max_parallel = 0;  // 0: no limit
  bool fail_fast = false;
  std::vector<BatchMember> members;  // in the order of the matrix; at least one
};

struct BatchResult {
  std::optional<Batch> batch;           // set exactly when there are no diagnostics
  std::vector<Diagnostic> diagnostics;  // in order of position
};

// Whether the text is a YAML map with `kind: Batch`. Anything else is for parse_pipeline.
bool is_batch(std::string_view text);

// Never fails otherwise: any bytes give a result. Pure, as parse_pipeline. Of `options` file and working_folder count.
BatchResult parse_batch(std::string_view text, const ParseOptions& options);

// One member's pipeline: `pipeline_text` is the content of Batch::pipeline. Its name is the member's. `one_cpu_node` as
// in ParseOptions.
ParseResult expand_member(const Batch& batch, const BatchMember& member, std::string_view pipeline_text,
                          bool one_cpu_node = false);

// Why -p cannot be given with a batch file.
inline constexpr const char* kNoParamsForBatch =
    "the parameters of a batch stand in its file (spec.params and spec.matrix): leave -p out";

}  // namespace gridquant::spec
