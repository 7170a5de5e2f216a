// What a coordinator knows, in the form in which the verbs show what a work folder knows.
#pragma once

#include <string>
#include <vector>

#include "cli/run_view.h"
#include "coordinator/client/client.h"
#include "coordinator/spec/spec.h"

namespace gridquant::cli {

RunView view_of(const v1::Run& run);

std::string word_of(v1::RunState state);    // "running": as sched::name_of
std::string word_of(v1::StageState state);  // "pending"

// The run of this id; of "": the latest one. NotFound.
StatusOr<v1::Run> get_run(client::Client& client, const std::string& id);
// As load_run and load_run_and_stage of run_view.h.
StatusOr<RunView> load_run(client::Client& client, const std::string& id);
StatusOr<RunAndStage> load_run_and_stage(client::Client& client, const std::vector<std::string>& words);

// The runs of a batch, or the run of this id alone.
StatusOr<std::vector<std::string>> runs_of(client::Client& client, const std::string& run_or_batch);

// The mistakes that came with an error, or were the answer. A file other than `source` (a batch's pipeline) is read
// for its lines.
std::vector<spec::Diagnostic> diagnostics_of(const google::protobuf::RepeatedPtrField<v1::Diagnostic>& diagnostics);
struct SourceFile {
  std::string name, text, working_folder;
};
std::string render(const std::vector<spec::Diagnostic>& diagnostics, const SourceFile& source, bool color);

}  // namespace gridquant::cli
