// The task file that a worker is given, and artifact.json, which it leaves: with the JSON lines on its standard output
// (node/worker/json_lines.h) the whole contract between node and worker. Both are JSON, written atomically.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::stages {

// {"format": 1, "run": "...", "stage": "quantize", "uses": "quantize", "attempt": 2, "key": "<sha256>",
//  "with": {...}, "inputs": {"plan": "/abs/artifact/folder", ...}, "artifact": "/abs/folder", "threads": 0,
//  "fresh": ""}
// `artifact` is the folder of this key in the store: the same for every attempt, so a later attempt finds what an
// earlier one committed block by block. It counts as finished only when artifact.json is there.
struct Task {
  std::string run;
  std::string stage;  // the stage's name in the pipeline (with the matrix suffix)
  std::string uses;   // the catalog's name
  int attempt = 1;
  std::string key;
  nlohmann::json with;                        // complete: defaults filled in, paths absolute
  std::map<std::string, std::string> inputs;  // catalog name of the producing stage -> its artifact folder
  std::string artifact;
  int threads = 0;      // 0: all cores
  std::string fresh{};  // "": goes on with what is there; else the order to begin with an empty folder, see start_fresh
};

StatusOr<Task> read_task(base::Env& env, const std::string& path);
nlohmann::json to_json(const Task& task);  // the file's content
Status write_task(base::Env& env, const std::string& path, const Task& task);

// artifact.json in the artifact folder: written last. Lists every file that belongs to the artifact.
// {"format": 1, "uses": "quantize", "key": "...", "summary": {...}, "files": [{"path": "checkpoint/config.json",
//  "bytes": 12, "sha256": "..."}]}
inline constexpr const char* kArtifactManifest = "artifact.json";
inline constexpr const char* kArtifactLock = "lock";  // beside it: held by the worker while it runs
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
// Removes what lies in the folder, the manifest last: whoever is killed in the middle leaves an artifact that is
// damaged, which the next one that looks discards again; never half of one that looks like unfinished work.
Status discard_artifact(base::Env& env, const std::string& folder);
// The folder as an attempt that must not use older work finds it: what was there before `order` (any text; one that
// no other order had) is discarded, once. A later attempt under the same order goes on with what the earlier ones left,
// and empties the folder if they were lost before they had done that.
Status start_fresh(base::Env& env, const std::string& folder, const std::string& order);
// Checks that every listed file is there with its size (and digest, if `digests`). DataLoss names the first that
// differs.
Status verify_artifact(base::Env& env, const std::string& folder, const Artifact& artifact, bool digests);

}  // namespace gridquant::stages
