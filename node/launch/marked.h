// Which processes belong to an attempt, by a variable in their environment: whatever a marked process starts inherits
// the mark, into other process groups and sessions, and keeps it when its parent dies. So what an earlier agent process
// left behind is found by looking at the machine's processes, without believing a file that holds process ids.
//
// Only processes of our own user are seen. Zombies have no environment any more, so they do not count.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gridquant::node {

inline constexpr std::string_view kMarkVariable = "GRIDQUANT_MARK";

// Marks of all processes but this one whose mark begins with `prefix`; one entry per process.
std::vector<std::string> marks_in_use(std::string_view prefix);

// SIGKILL to every process but this one that carries one of these marks. Returns their marks, one entry per process: a
// mark that is not among them has no process left. Safe against process ids that are used again. Looks at all processes
// of the machine, which takes about a millisecond: ask for many marks at once.
std::vector<std::string> kill_marked(const std::set<std::string>& marks);

}  // namespace gridquant::node
