// What every step of reading a pipeline shares: the text, where diagnostics go, and which folders paths are relative
// to.
#pragma once

#include <string>
#include <string_view>

#include "coordinator/spec/sink.h"
#include "coordinator/spec/source.h"
#include "coordinator/spec/spec.h"

namespace gridquant::spec {

struct Context {
  const SourceText& source;
  Sink& sink;
  const ParseOptions& options;
  std::string file_folder;  // of paths written in the file
};

// `path` if absolute, otherwise below `folder`; "." and ".." removed by their letters alone (no link is followed).
std::string resolve_path(const std::string& folder, const std::string& path);
std::string folder_of_file(const ParseOptions& options);

}  // namespace gridquant::spec
