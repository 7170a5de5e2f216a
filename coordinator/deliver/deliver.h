// What a successful run leaves in its output folder: checkpoint/, report.json and report.html.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/sched/state.h"
#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::deliver {

// Makes the folder and writes a little into it, so that a folder that cannot be written is known before hours of work.
Status probe_output(base::Env& env, const std::string& output);

struct Delivery {
  const sched::Run& run;
  std::string output;                                                // folder
  std::function<std::string(const std::string& stage)> artifact_of;  // folder of a stage's artifact
  nlohmann::json environment;                                        // name -> text
  std::vector<std::string> warnings;
};

// report.json: see engine/eval/README.md.
nlohmann::json make_report(const Delivery& delivery);

// Links or copies the checkpoint under another name and renames it then: `output`/checkpoint is whole or absent. With
// several quantize stages (a matrix) each gets `output`/<stage>/checkpoint.
Status deliver_checkpoints(base::Env& env, const Delivery& delivery);

// report.json and report.html.
Status deliver_report(base::Env& env, const std::string& output, const nlohmann::json& report);

}  // namespace gridquant::deliver
