// The files of an input's artifact, each compared with its digest in artifact.json when it is read: a flipped bit must
// not become part of a result. Not here: the artifact that a stage itself makes (task.h).
#pragma once

#include <map>
#include <string>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/device/thread_pool.h"

namespace gridquant::stages {

// DataLoss from every function, which has the stage that made the artifact run again: the manifest or a file is absent,
// or differs from what was committed. Const functions may be called from any number of threads.
class CommittedFiles {
 public:
  static StatusOr<CommittedFiles> open(base::Env& env, const std::string& folder);

  bool contains(const std::string& file) const { return digests_.contains(file); }
  StatusOr<std::string> read(const std::string& file) const;  // its content: for files that fit in memory
  Status verify(const std::string& file) const;               // reads it through
  Status check(const std::string& file, const std::string& digest) const;  // where the caller has digested it
  // All files below `sub_folder`, over the pool's threads.
  Status verify_below(const std::string& sub_folder, device::ThreadPool& pool) const;

 private:
  CommittedFiles(base::Env& env, std::string folder) : env_(&env), folder_(std::move(folder)) {}

  base::Env* env_;
  std::string folder_;
  std::map<std::string, std::string> digests_;  // file, relative to the folder -> SHA-256
};

// What a stored file says of itself is not our caller's mistake: DataLoss for an error about content, else the same.
Status as_damage(const Status& status);

}  // namespace gridquant::stages
