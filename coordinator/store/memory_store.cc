// StateStore in memory, for tests.
#include <map>

#include "coordinator/store/state_store.h"

namespace gridquant::store {
namespace {

class MemoryStore final : public StateStore {
 public:
  Status commit(const Batch& batch) override {
    for (const RecordRow& record : batch.records) records_[record.run].push_back(record.text);
    for (const RunRow& run : batch.runs) upsert(run);
    artifacts_.insert(artifacts_.end(), batch.artifacts.begin(), batch.artifacts.end());
    return absl::OkStatus();
  }

  StatusOr<std::vector<std::string>> records(const std::string& run) override {
    const auto found = records_.find(run);
    return found == records_.end() ? std::vector<std::string>() : found->second;
  }

  StatusOr<std::vector<RunRow>> runs() override { return runs_; }

  StatusOr<std::optional<ArtifactRow>> latest_artifact(const std::string& stage, const std::string& uses) override {
    for (auto row = artifacts_.rbegin(); row != artifacts_.rend(); ++row) {
      if (row->stage == stage && row->uses == uses) return *row;
    }
    return std::nullopt;
  }

 private:
  void upsert(const RunRow& run) {
    for (RunRow& row : runs_) {
      if (row.id != run.id) continue;
      row = run;
      return;
    }
    runs_.push_back(run);
  }

  std::map<std::string, std::vector<std::string>> records_;
  std::vector<RunRow> runs_;
  std::vector<ArtifactRow> artifacts_;
};

}  // namespace

std::unique_ptr<StateStore> make_memory_store() {
  return std::make_unique<MemoryStore>();
}

}  // namespace gridquant::store
