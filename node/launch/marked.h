// Which processes belong to an attempt, by a variable in their environment: whatever a marked process starts inherits
// the mark, into other process groups and sessions, and keeps it when its parent dies. So what an earlier agent process
// left behind is found by looking at the machine's processes, without believing a file that holds process ids.
//
// Only processes of our own user are seen. Zombies have no environment any more, so they do not count.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gridquant::node {

inline constexpr std::string_view kMarkVariable = "GRIDQUANT_MARK";

// Marks of all processes but this one whose mark begins with `prefix`; one entry per process.
std::vector<std::string> marks_in_use(std::string_view prefix);

// SIGKILL to every process but this one that carries exactly this mark. Returns how many there were: 0 says that all
// are gone. Safe against process ids that are used again.
size_t kill_marked(std::string_view mark);

}  // namespace gridquant::node
