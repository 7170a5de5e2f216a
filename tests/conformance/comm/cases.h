// What every communicator must do. A case is run by each rank of a communicator at once; failures are GoogleTest's.
#pragma once

#include <string>
#include <vector>

#include "engine/comm/communicator.h"

namespace gridquant::comm {

struct Case {
  std::string name;
  void (*run)(Communicator& comm);
};
std::vector<Case> all_cases();

}  // namespace gridquant::comm
