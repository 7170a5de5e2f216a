// StateStore in memory, for tests.
#include <algorithm>
#include <map>

#include "coordinator/store/state_store.h"

namespace gridquant::store {
namespace {

class MemoryStore final : public StateStore {
 public:
  Status commit(const Batch& batch) override {
    for (const RecordRow& record : batch.records) {
      records_[record.run].push_back(record.text);
      all_.push_back(record.text);
    }
    for (const RunRow& run : batch.runs) upsert(run);
    artifacts_.insert(artifacts_.end(), batch.artifacts.begin(), batch.artifacts.end());
    return absl::OkStatus();
  }

  StatusOr<std::vector<std::string>> records(const std::string& run) override {
    const auto found = records_.find(run);
    return found == records_.end() ? std::vector<std::string>() : found->second;
  }

  StatusOr<std::vector<std::string>> records(const std::string& run, uint64_t after, size_t most) override {
    const auto found = records_.find(run);
    if (found == records_.end() || after >= found->second.size()) return std::vector<std::string>();
    const auto from = found->second.begin() + static_cast<int64_t>(after);
    return std::vector<std::string>(from, from + static_cast<int64_t>(std::min(most, found->second.size() - after)));
  }

  Status each_record(const std::function<Status(const std::string& text)>& each) override {
    for (const std::string& text : all_) GQ_RETURN_IF_ERROR(each(text));
    return absl::OkStatus();
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
  std::vector<std::string> all_;
  std::vector<RunRow> runs_;
  std::vector<ArtifactRow> artifacts_;
};

}  // namespace

std::unique_ptr<StateStore> make_memory_store() {
  return std::make_unique<MemoryStore>();
}

}  // namespace gridquant::store
