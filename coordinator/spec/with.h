// A stage's `with:` as the complete JSON that the stage gets: expressions replaced, defaults filled in, paths absolute.
#pragma once

#include <nlohmann/json.hpp>

#include "coordinator/spec/bind.h"
#include "coordinator/spec/check.h"

namespace gridquant::spec {

// `entry` is the stage's "with" (null if it has none), `stage_key` the stage's name. Reports everything that `format`
// does not allow. Values that are not known yet (required parameters while validating) are null.
nlohmann::json read_with(const YEntry* entry, const YNode& stage_key, const FormatField& format, const Scope& scope,
                         const Context& context);

}  // namespace gridquant::spec
