// Which ids of runs a work folder has seen: `gridquant run` and a coordinator may work there one after the other, and
// every run's logs lie in a folder of its id, so no id is given twice. Only for the holder of the folder's lock: while
// it holds, nobody else gives one.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::store {

// Of the runs in both databases, deleted ones too, and of the folders in runs/.
StatusOr<std::set<std::string>> used_run_ids(base::Env& env, const std::string& workdir);

uint64_t run_number(const std::string& id);  // 12 of "quickstart-12"; 0 where there is none

}  // namespace gridquant::store
