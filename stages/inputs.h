// What a stage reads from the artifacts of the stages before it.
#pragma once

#include <string>

#include "engine/base/status.h"
#include "stages/context.h"
#include "stages/model_source.h"

namespace gridquant::stages {

// The artifact folder of input `name`. InvalidArgument if the task does not name it.
StatusOr<std::string> input_folder(const StageContext& context, const std::string& name);

// The model that analyze looked at. FailedPrecondition if its files have other sizes now, or are gone.
StatusOr<ModelSource> open_analyzed_model(StageContext& context);

// Peak resident memory of this process so far, in bytes.
uint64_t peak_rss_bytes();

}  // namespace gridquant::stages
