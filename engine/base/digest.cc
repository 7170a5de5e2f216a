// SHA-256 through OpenSSL's EVP interface, which picks the processor's SHA instructions.
#include "engine/base/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <vector>

namespace gridquant::base {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

}  // namespace

struct Digester::State {
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
};

Digester::Digester() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr);
}
Digester::~Digester() = default;
Digester::Digester(Digester&&) noexcept = default;
Digester& Digester::operator=(Digester&&) noexcept = default;

void Digester::update(std::span<const std::byte> data) {
  EVP_DigestUpdate(state_->context.get(), data.data(), data.size());
}

void Digester::update(std::string_view text) {
  EVP_DigestUpdate(state_->context.get(), text.data(), text.size());
}

std::string Digester::finish() {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_DigestFinal_ex(state_->context.get(), hash, &length);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * length);
  for (unsigned int i = 0; i < length; ++i) {
    hex += kDigits[hash[i] >> 4];
    hex += kDigits[hash[i] & 15];
  }
  return hex;
}

std::string digest_of(std::string_view text) {
  Digester digester;
  digester.update(text);
  return digester.finish();
}

StatusOr<std::string> digest_of_file(Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(auto file, env.open(path));
  std::vector<std::byte> chunk(std::min<uint64_t>(kChunkBytes, file->size()));
  Digester digester;
  for (uint64_t at = 0; at < file->size();) {
    const std::span<std::byte> part(chunk.data(), std::min<uint64_t>(chunk.size(), file->size() - at));
    GQ_RETURN_IF_ERROR(file->read(at, part));
    digester.update(part);
    at += part.size();
  }
  return digester.finish();
}

}  // namespace gridquant::base
