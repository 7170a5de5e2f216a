// gq-tokenize TOKENIZER TEXT_FILE OUT_I32_FILE: the ids of a whole file, special tokens added, as little-endian int32.
// TOKENIZER is a SentencePiece model unless its name ends in .json. For tests/interop/tokenizer.py;
// prints the processor seconds that reading the tokenizer and encoding took.
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/env.h"
#include "engine/text/tokenizer.h"

namespace gridquant {
namespace {

// Of this process, which has one thread: a busy machine does not count.
double seconds_since(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

Status run(const std::string& tokenizer_path, const std::string& text_path, const std::string& out_path) {
  base::Env& env = base::posix_env();
  GQ_ASSIGN_OR_RETURN(const std::string json, base::read_file(env, tokenizer_path));
  std::clock_t start = std::clock();
  GQ_ASSIGN_OR_RETURN(const text::Tokenizer tokenizer,
                      tokenizer_path.ends_with(".json") ? text::Tokenizer::parse(json, tokenizer_path)
                                                        : text::Tokenizer::parse_sentencepiece(json, tokenizer_path));
  const double parse_s = seconds_since(start);
  GQ_ASSIGN_OR_RETURN(const std::string content, base::read_file(env, text_path));
  start = std::clock();
  GQ_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.encode(content, true));
  const double encode_s = seconds_since(start);
  if (tokenizer.decode(ids, true) != content) std::printf("the decoded text differs from %s\n", text_path.c_str());
  const std::string_view bytes(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t));
  GQ_RETURN_IF_ERROR(base::write_file_atomically(env, out_path, bytes));
  std::printf("tokens %zu bytes %zu parse_cpu_s %.3f encode_cpu_s %.4f\n", ids.size(), content.size(), parse_s,
              encode_s);
  return absl::OkStatus();
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: gq-tokenize TOKENIZER TEXT_FILE OUT_I32_FILE\n");
    return 2;
  }
  const gridquant::Status status = gridquant::run(argv[1], argv[2], argv[3]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return static_cast<int>(gridquant::exit_code_for(status));
}
