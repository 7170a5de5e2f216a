// Keys of stages from the pipeline, the catalog's field types and fingerprints.
#include "coordinator/store/stage_key.h"

#include <algorithm>
#include <set>
#include <span>

#include "engine/base/digest.h"
#include "stages/catalog/catalog.h"

namespace gridquant::store {
namespace {

using nlohmann::json;

// Fingerprints of one pipeline: the same model folder is read once.
class Fingerprints {
 public:
  explicit Fingerprints(base::Env& env) : env_(env) {}

  StatusOr<std::string> of(const std::string& path) {
    const auto found = known_.find(path);
    if (found != known_.end()) return found->second;
    GQ_ASSIGN_OR_RETURN(const std::string digest, fingerprint(env_, path));
    known_[path] = digest;
    return digest;
  }

 private:
  base::Env& env_;
  std::map<std::string, std::string> known_;
};

// Replaces the paths in `with` by their fingerprints.
Status replace_paths(Fingerprints& fingerprints, std::span<const stages::Field> fields, json& with) {
  if (!with.is_object()) return absl::OkStatus();
  for (const stages::Field& field : fields) {
    const auto value = with.find(field.name);
    if (value == with.end()) continue;
    if (field.type == stages::FieldType::kPath && value->is_string()) {
      const StatusOr<std::string> digest = fingerprints.of(value->get<std::string>());
      if (!digest.ok()) return annotate(digest.status(), field.name);
      *value = *digest;
    }
    if (field.type == stages::FieldType::kObjectList && value->is_array()) {
      for (json& element : *value) {
        GQ_RETURN_IF_ERROR(annotate(replace_paths(fingerprints, field.fields, element), field.name));
      }
    }
  }
  return absl::OkStatus();
}

class KeyMaker {
 public:
  KeyMaker(base::Env& env, const spec::Pipeline& pipeline, const KeyOptions& options)
      : fingerprints_(env), options_(options) {
    for (const spec::StagePlan& stage : pipeline.stages) plans_[stage.name] = &stage;
  }

  // Inputs first. The pipeline is acyclic, so the recursion ends.
  Status make(const spec::StagePlan& stage) {
    if (keys.count(stage.name) != 0) return absl::OkStatus();
    json inputs = json::object();
    for (const auto& [uses, name] : stage.inputs) {
      const auto plan = plans_.find(name);
      if (plan == plans_.end()) return absl::InternalError("stage " + stage.name + " reads the unknown stage " + name);
      GQ_RETURN_IF_ERROR(make(*plan->second));
      if (!stages::is_part_input(uses)) inputs[uses] = keys.at(name).key;
    }
    GQ_RETURN_IF_ERROR(annotate(digest(stage, std::move(inputs)), "stage " + stage.name));
    return absl::OkStatus();
  }

  std::map<std::string, StageKey> keys;

 private:
  Status digest(const spec::StagePlan& stage, json inputs) {
    json components = {
        {"uses", stage.uses}, {"version", stage.version}, {"inputs", std::move(inputs)}, {"cpu", options_.cpu_kind}};
    // The result is the same for any number of parts, but not that of one stage that sees what it has quantized.
    if (std::ranges::any_of(stage.inputs, [](const auto& input) { return stages::is_part_input(input.first); })) {
      components["parallelism"] = "blocks";
    }
    json with = stage.with;
    if (with.is_object() && with.contains("compute") && with["compute"].is_string()) {
      GQ_ASSIGN_OR_RETURN(components["compute"], options_.resolve_compute(with["compute"].get<std::string>()));
      with.erase("compute");  // "auto" and what it means here are the same
    }
    const stages::StageInfo* info = stages::find_stage(stage.uses);
    if (info == nullptr) return absl::InternalError("the catalog has no stage " + stage.uses);
    for (const stages::Field& field : info->fields) {
      if (!field.in_key && with.is_object()) with.erase(field.name);
    }
    GQ_RETURN_IF_ERROR(replace_paths(fingerprints_, info->fields, with));
    components["with"] = std::move(with);
    keys[stage.name] = StageKey{base::digest_of(components.dump()), components};
    return absl::OkStatus();
  }

  Fingerprints fingerprints_;
  const KeyOptions& options_;
  std::map<std::string, const spec::StagePlan*> plans_;
};

// "/with/datasets/0/path" -> "with.datasets[0].path"
std::string readable(const std::string& pointer) {
  std::string out;
  size_t start = 1;
  while (start <= pointer.size()) {
    const size_t end = std::min(pointer.find('/', start), pointer.size());
    const std::string part = pointer.substr(start, end - start);
    const bool is_index = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    if (is_index) {
      out += "[" + part + "]";
    } else {
      out += (out.empty() ? "" : ".") + part;
    }
    start = end + 1;
  }
  return out;
}

std::string shown(const json& flat, const std::string& pointer) {
  if (!flat.contains(pointer)) return "(absent)";
  const json& value = flat.at(pointer);
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  const bool is_digest = text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  return is_digest ? "content " + text.substr(0, 12) : text;
}

}  // namespace

StatusOr<std::map<std::string, StageKey>> compute_stage_keys(base::Env& env, const spec::Pipeline& pipeline,
                                                             const KeyOptions& options) {
  KeyMaker maker(env, pipeline, options);
  for (const spec::StagePlan& stage : pipeline.stages) GQ_RETURN_IF_ERROR(maker.make(stage));
  return std::move(maker.keys);
}

std::vector<std::string> differences(const json& before, const json& after) {
  const json old_flat = before.flatten(), new_flat = after.flatten();
  std::set<std::string> pointers;
  for (const auto& [pointer, value] : old_flat.items()) pointers.insert(pointer);
  for (const auto& [pointer, value] : new_flat.items()) pointers.insert(pointer);
  std::vector<std::string> lines;
  for (const std::string& pointer : pointers) {
    const std::string was = shown(old_flat, pointer), is = shown(new_flat, pointer);
    if (was != is) lines.push_back(readable(pointer) + ": " + was + " -> " + is);
  }
  return lines;
}

}  // namespace gridquant::store
