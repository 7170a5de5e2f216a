// StateStore in memory, for tests.
#include <algorithm>

#include "coordinator/store/state_store.h"

namespace gridquant::store {
namespace {

class MemoryStore final : public StateStore {
 public:
  Status commit(const Batch& batch) override {
    all_.insert(all_.end(), batch.records.begin(), batch.records.end());
    for (const RunRow& run : batch.runs) upsert(run);
    artifacts_.insert(artifacts_.end(), batch.artifacts.begin(), batch.artifacts.end());
    for (const ErasedRun& run : batch.erased) erase(run);
    return absl::OkStatus();
  }

  StatusOr<std::vector<std::string>> records(const std::string& run) override {
    return records(run, 0, all_.size());
  }

  StatusOr<std::vector<std::string>> records(const std::string& run, uint64_t after, size_t most) override {
    std::vector<std::string> texts;
    for (const RecordRow& record : all_) {
      if (record.run != run || texts.size() >= most) continue;
      if (after == 0) texts.push_back(record.text);
      after -= after == 0 ? 0 : 1;
    }
    return texts;
  }

  Status each_record(const std::function<Status(const std::string& text)>& each) override {
    for (const RecordRow& record : all_) GQ_RETURN_IF_ERROR(each(record.text));
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
  void erase(const ErasedRun& run) {
    const auto of_run = [&](const RecordRow& record) { return record.run == run.run; };
    const auto last = std::find_if(all_.rbegin(), all_.rend(), of_run);
    const auto first = std::find_if(all_.begin(), all_.end(), of_run);
    if (first == all_.end()) return;
    const std::string kept = last->text;
    *first = {"", run.mark};
    std::erase_if(all_, [&](const RecordRow& record) { return of_run(record) && record.text != kept; });
  }
  void upsert(const RunRow& run) {
    for (RunRow& row : runs_) {
      if (row.id != run.id) continue;
      row = run;
      return;
    }
    runs_.push_back(run);
  }

  std::vector<RecordRow> all_;
  std::vector<RunRow> runs_;
  std::vector<ArtifactRow> artifacts_;
};

}  // namespace

std::unique_ptr<StateStore> make_memory_store() {
  return std::make_unique<MemoryStore>();
}

}  // namespace gridquant::store
