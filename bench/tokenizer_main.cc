// bench_tokenizer TOKENIZER TEXT_FILE OUT_I32_FILE PASSES: encodes every line of the file by itself, without special
// tokens, on one thread; prints the seconds of the best pass. Every pass begins with nothing remembered. The ids of all
// lines, one after the other, are left in the file. For bench/tokenizer/bench.py.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/env.h"
#include "engine/text/tokenizer.h"

namespace gridquant {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

Status run(char** arguments) {
  base::Env& env = base::posix_env();
  const std::string tokenizer_path = arguments[1];
  GQ_ASSIGN_OR_RETURN(const std::string json, base::read_file(env, tokenizer_path));
  GQ_ASSIGN_OR_RETURN(const text::Tokenizer tokenizer, text::Tokenizer::parse(json, tokenizer_path));
  GQ_ASSIGN_OR_RETURN(const std::string content, base::read_file(env, arguments[2]));
  const std::vector<std::string_view> lines = lines_of(content);
  double best = std::numeric_limits<double>::infinity();
  std::vector<std::vector<int32_t>> ids;
  for (int pass = std::max(1, std::atoi(arguments[4])); pass > 0; --pass) {
    ids.clear();
    ids.reserve(lines.size());
    const auto start = std::chrono::steady_clock::now();
    text::EncodeScratch scratch;
    for (const std::string_view line : lines) {
      GQ_ASSIGN_OR_RETURN(std::vector<int32_t> encoded, tokenizer.encode(line, false, scratch));
      ids.push_back(std::move(encoded));
    }
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::string bytes;
  for (const std::vector<int32_t>& line : ids) {
    bytes.append(reinterpret_cast<const char*>(line.data()), line.size() * sizeof(int32_t));
  }
  GQ_RETURN_IF_ERROR(base::write_file_atomically(env, arguments[3], bytes));
  std::printf("lines %zu bytes %zu tokens %zu best_s %.6f\n", lines.size(), content.size(),
              bytes.size() / sizeof(int32_t), best);
  return absl::OkStatus();
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: bench_tokenizer TOKENIZER TEXT_FILE OUT_I32_FILE PASSES\n");
    return 2;
  }
  const gridquant::Status status = gridquant::run(argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return static_cast<int>(gridquant::exit_code_for(status));
}
