// A pipeline after parsing and validation: names resolved, defaults filled in, expressions kept where they depend on
// the run. What the scheduler works on. Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace gridquant::spec {

struct RetryPolicy {
  int max_attempts = 3;
  int64_t initial_backoff_ms = 5'000;
  double factor = 2;
  int64_t max_backoff_ms = 120'000;
};

struct StagePlan {
  std::string name;                // "quantize"; with a matrix "quantize-<value>-<value>"
  std::string uses;                // catalog name
  int version = 1;                 // of the catalog entry
  std::vector<std::string> needs;  // names of StagePlans
  // Catalog name of the producing stage (of a part: stages::part_input) -> name of the StagePlan.
  std::map<std::string, std::string> inputs;
  nlohmann::json with;    // complete, paths absolute, expressions over params and matrix replaced
  std::string condition;  // expression over stages.*; "" = always. Evaluated when all needs are over
  std::map<std::string, std::string> matrix;  // this instance's values
  RetryPolicy retry;
  int64_t timeout_ms = 0;   // of one attempt; 0 = none
  int64_t deadline_ms = 0;  // of the stage, from the moment it could first start, over all attempts and waits; 0 = none
  int cores = 0;            // resources.cores; 0 = all
  int64_t memory_bytes = 0;
  int gang_ranks = 1;      // resources.gang.ranks
  int gang_min_ranks = 1;  // resources.gang.minRanks; gang_ranks if not given
  int gpus_per_rank = 0;
  std::map<std::string, std::string> node_selector{};  // labels that each of its nodes must have
};

struct Pipeline {
  std::string name;
  std::map<std::string, std::string> labels;
  nlohmann::json params;          // final values
  std::string queue = "default";  // whose quota it counts against, on a cluster
  int priority = 0;               // -100 to 100
  int64_t deadline_ms = 0;        // of the whole run, from its start; 0 = none
  std::vector<StagePlan> stages;  // in file order, matrix and parallelism expanded; acyclic
};

}  // namespace gridquant::spec
