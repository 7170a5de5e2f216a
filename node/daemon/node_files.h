// A node's own folder: what its agent keeps on the node's disk. One agent process at a time has it.
//
//   lock               held by the agent's process
//   id                 a random name, made once: marks this node's processes (node/launch/marked.h)
//   boot               how many agent processes there have been
//   attempts/<epoch>/  log, task.json, log.json (where the log belongs), daemon.log, ranks/ (signs of life)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::node {

class NodeFiles {
 public:
  // Takes the folder, which is made if it is not there, and counts this process. FailedPrecondition: another agent
  // has it.
  static StatusOr<NodeFiles> open(base::Env& env, const std::string& folder);
  ~NodeFiles();
  NodeFiles(NodeFiles&& other) noexcept;
  NodeFiles& operator=(NodeFiles&&) = delete;

  const std::string& id() const { return id_; }
  int64_t boot() const { return boot_; }
  // What this node's attempt of this epoch is marked with.
  std::string mark(uint64_t epoch) const { return id_ + ":" + std::to_string(epoch); }
  // Epochs of attempts of which processes still live.
  std::vector<uint64_t> alive() const;

  std::string attempt_folder(uint64_t epoch) const;
  std::string attempt_file(uint64_t epoch, const std::string& name) const;
  std::vector<uint64_t> attempts();  // that have a folder

 private:
  NodeFiles(base::Env& env, std::string folder) : env_(&env), folder_(std::move(folder)) {}

  base::Env* env_;
  std::string folder_, id_;
  int64_t boot_ = 0;
  int lock_ = -1;
};

}  // namespace gridquant::node
