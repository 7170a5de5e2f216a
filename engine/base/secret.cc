// See secret.h.
#include "engine/base/secret.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <array>

namespace gridquant::base {
namespace {

constexpr size_t kBytes = 32;
constexpr const char* kDigits = "0123456789abcdef";

}  // namespace

StatusOr<std::string> make_secret() {
  std::array<unsigned char, kBytes> bytes;
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) {
    return absl::UnavailableError("the operating system gives no random bytes");
  }
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

StatusOr<std::string> load_or_make_secret(Env& env, const std::string& path) {
  if (env.exists(path)) {
    GQ_ASSIGN_OR_RETURN(std::string text, read_file(env, path));
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (text.size() == 2 * kBytes && text.find_first_not_of(kDigits) == std::string::npos) {
      ::chmod(path.c_str(), 0600);  // whoever made it may have been killed before he had done that
      return text;
    }
    return absl::DataLossError(path + " holds no secret: remove it, and a new one is made");
  }
  GQ_ASSIGN_OR_RETURN(const std::string text, make_secret());
  GQ_RETURN_IF_ERROR(write_file_atomically(env, path, text + "\n"));
  ::chmod(path.c_str(), 0600);  // fails in a memory Env, where there is nobody to read it
  return text;
}

bool equal_secrets(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace gridquant::base
