// From the text of a pipeline or batch file to what the scheduler is asked, or to every mistake in it. Reads the files
// that the pipeline names (their content is part of the stages' keys): slow, so not on the scheduler's thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "coordinator/sched/input.h"
#include "coordinator/spec/spec.h"
#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::control {

struct PipelineText {
  std::string name;  // of the file, as the user gave it
  std::string text;
  std::string working_folder;  // absolute: of the client
  std::map<std::string, std::string> params;
};

struct Submission {
  PipelineText file;
  std::string output;  // "": out/<pipeline>; relative to the working folder
  bool no_cache = false;
  std::string request;  // id; "" asks for no idempotency
};

// The kind of processor that a run is for: part of its stages' keys, so it goes only to nodes of that kind.
struct Machine {
  std::string cpu_kind, cpu_model;
  std::vector<std::string> compute_types;  // the first is what "auto" means
  int cores = 0;
};

// `own`'s kind if a living node has it, or if there is none at all; else the one with the most cores alive.
Machine choose_machine(const sched::State& state, const Machine& own);

struct Checked {
  std::vector<spec::Diagnostic> diagnostics;  // mistakes in the file; then everything else is empty
  std::string kind;                           // "Pipeline" or "Batch"
  std::string name;
  int max_parallel = 0;
  bool fail_fast = false;
  std::vector<spec::Pipeline> pipelines;  // one, or of all runs of the batch
};

// Every mistake in the file; of a batch, also in its pipeline file. Pure but for reading the latter.
Checked check(base::Env& env, const PipelineText& file);

// The keys of all stages, the output folder probed: sched::RunSubmitted or BatchSubmitted. Run ids are the scheduler's
// to give; cache notes hold the components of each key. NotFound, FailedPrecondition, ... name what is not there.
StatusOr<sched::Input> prepare(base::Env& env, const Submission& submission, const Checked& checked,
                               const Machine& machine, const std::string& version);

// What two submissions of one request id must agree in.
std::string content_of(const Submission& submission);

}  // namespace gridquant::control
