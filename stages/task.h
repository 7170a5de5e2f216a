// The task file that a worker is given and the result file that it leaves: the whole contract between node and worker.
// Both are JSON, written atomically. Progress goes to standard output as JSON lines, see progress.h.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::stages {

// {"format": 1, "run": "...", "stage": "quantize", "uses": "quantize", "attempt": 2, "key": "<sha256>",
//  "with": {...}, "inputs": {"plan": "/abs/artifact/folder", ...}, "artifact": "/abs/folder", "threads": 0}
// `artifact` is the folder of this key in the store: the same for every attempt, so a later attempt finds what an
// earlier one committed block by block. It counts as finished only when artifact.json is there (see artifact.h).
struct Task {
  std::string run;
  std::string stage;  // the stage's name in the pipeline (with the matrix suffix)
  std::string uses;   // the catalog's name
  int attempt = 1;
  std::string key;
  nlohmann::json with;                        // complete: defaults filled in, paths absolute
  std::map<std::string, std::string> inputs;  // catalog name of the producing stage -> its artifact folder
  std::string artifact;
  int threads = 0;  // 0: all cores
};

StatusOr<Task> read_task(base::Env& env, const std::string& path);
nlohmann::json to_json(const Task& task);  // the file's content
Status write_task(base::Env& env, const std::string& path, const Task& task);

// artifact.json in the artifact folder: written last. Lists every file that belongs to the artifact.
// {"format": 1, "uses": "quantize", "key": "...", "summary": {...}, "files": [{"path": "checkpoint/config.json",
//  "bytes": 12, "sha256": "..."}]}
inline constexpr const char* kArtifactManifest = "artifact.json";
struct ArtifactFile {
  std::string path;  // relative to the artifact folder
  uint64_t bytes = 0;
  std::string sha256;
};
struct Artifact {
  std::string uses;
  std::string key;
  nlohmann::json summary;  // what a person wants to know of the stage, and what `${stages.X.summary.Y}` may read
  std::vector<ArtifactFile> files;
};
StatusOr<Artifact> read_artifact(base::Env& env, const std::string& folder);
Status commit_artifact(base::Env& env, const std::string& folder, const Artifact& artifact);
// Checks that every listed file is there with its size (and digest, if `digests`). DataLoss names the first that
// differs.
Status verify_artifact(base::Env& env, const std::string& folder, const Artifact& artifact, bool digests);

}  // namespace gridquant::stages
