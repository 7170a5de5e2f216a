// See certificate.h.
#include "engine/base/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace gridquant::base {
namespace {

struct Free {
  void operator()(BIO* value) const { BIO_free(value); }
  void operator()(X509* value) const { X509_free(value); }
  void operator()(X509_STORE* value) const { X509_STORE_free(value); }
  void operator()(X509_STORE_CTX* value) const { X509_STORE_CTX_free(value); }
  void operator()(EVP_PKEY* value) const { EVP_PKEY_free(value); }
  void operator()(STACK_OF(X509) * value) const { sk_X509_free(value); }  // not what is in it
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

Owned<BIO> reader(const std::string& text) {
  return Owned<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

StatusOr<std::vector<Owned<X509>>> certificates_of(const std::string& pem) {
  std::vector<Owned<X509>> all;
  const Owned<BIO> bio = reader(pem);
  while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) all.emplace_back(one);
  ERR_clear_error();  // reading on after the last one is how the end shows
  if (all.empty()) return absl::InvalidArgumentError("there is no certificate (PEM) in it");
  return all;
}

std::string subject_of(const X509& certificate) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(&certificate), 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<size_t>(size)};
}

int64_t seconds_of(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<int64_t>(timegm(&parts)) : 0;
}

}  // namespace

StatusOr<CertificateInfo> read_certificate(const std::string& pem) {
  GQ_ASSIGN_OR_RETURN(const auto all, certificates_of(pem));
  const X509& first = *all.front();
  return CertificateInfo{.subject = subject_of(first),
                         .not_before_s = seconds_of(X509_get0_notBefore(&first)),
                         .not_after_s = seconds_of(X509_get0_notAfter(&first))};
}

Status verify_client_certificate(const std::string& chain, const std::string& roots) {
  GQ_ASSIGN_OR_RETURN(const auto presented, certificates_of(chain));
  GQ_ASSIGN_OR_RETURN(const auto authorities, certificates_of(roots));
  const Owned<X509_STORE> store(X509_STORE_new());
  for (const auto& authority : authorities) X509_STORE_add_cert(store.get(), authority.get());
  const Owned<STACK_OF(X509)> between(sk_X509_new_null());
  for (size_t i = 1; i < presented.size(); ++i) sk_X509_push(between.get(), presented[i].get());
  const Owned<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), store.get(), presented.front().get(), between.get()) != 1 ||
      X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT) != 1) {
    return absl::InternalError("OpenSSL cannot verify certificates");
  }
  const bool good = X509_verify_cert(context.get()) == 1;
  const int problem = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  if (good) return absl::OkStatus();
  return absl::UnauthenticatedError(
      absl::StrCat(subject_of(*presented.front()), ": ", X509_verify_cert_error_string(problem)));
}

Status check_key_pair(const std::string& certificate, const std::string& key) {
  GQ_ASSIGN_OR_RETURN(const auto all, certificates_of(certificate));
  const Owned<BIO> bio = reader(key);
  const Owned<EVP_PKEY> own(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  const bool fits = own != nullptr && X509_check_private_key(all.front().get(), own.get()) == 1;
  ERR_clear_error();
  if (own == nullptr) return absl::InvalidArgumentError("there is no private key (PEM, without a password) in it");
  if (!fits) return absl::InvalidArgumentError("the key is not that of the certificate");
  return absl::OkStatus();
}

std::string random_hex(size_t bytes) {
  std::string random(bytes, '\0');
  // Cannot fail once the operating system has started.
  if (RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), static_cast<int>(bytes)) != 1) return "";
  return absl::BytesToHexString(random);
}

}  // namespace gridquant::base
