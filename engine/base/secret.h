// Secrets: random bytes from the operating system, kept in a file that only its owner reads.
#pragma once

#include <string>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::base {

// 64 hexadecimal digits from the operating system's generator.
StatusOr<std::string> make_secret();

// The secret in `path`; made and written there, durably, if the file is absent. DataLoss if it holds something else.
// On POSIX the file gets mode 0600.
StatusOr<std::string> load_or_make_secret(Env& env, const std::string& path);

// Whether two texts are equal, in a time that does not depend on where they differ.
bool equal_secrets(const std::string& a, const std::string& b);

}  // namespace gridquant::base
