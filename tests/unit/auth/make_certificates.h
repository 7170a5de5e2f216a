// Certificates for tests, made on the spot: authorities, and certificates that they sign for any span of time.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <fstream>
#include <memory>
#include <string>

namespace gridquant::auth {

struct KeyPair {
  std::string certificate, key;  // PEM
};

class Authority {
 public:
  explicit Authority(const std::string& name) : key_(EVP_EC_gen("P-256")) {
    certificate_ = make(name, key_, /*from_s=*/-3600, /*to_s=*/3600, /*is_authority=*/true);
  }
  ~Authority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  std::string certificate() const { return pem(certificate_); }

  // For localhost and 127.0.0.1, client and server; valid from `from_s` to `to_s` seconds from now.
  KeyPair sign(const std::string& name, int64_t from_s = -60, int64_t to_s = 3600) const {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* leaf = make(name, key, from_s, to_s, /*is_authority=*/false);
    KeyPair pair{pem(leaf), pem(key)};
    X509_free(leaf);
    EVP_PKEY_free(key);
    return pair;
  }

 private:
  X509* make(const std::string& name, EVP_PKEY* key, int64_t from_s, int64_t to_s, bool is_authority) const {
    static int serial = 0;
    X509* made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(made), from_s);
    X509_gmtime_adj(X509_getm_notAfter(made), to_s);
    X509_set_pubkey(made, key);
    const auto* text = reinterpret_cast<const unsigned char*>(name.c_str());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8, text, -1, -1, 0);
    X509_set_issuer_name(made, is_authority ? X509_get_subject_name(made) : X509_get_subject_name(certificate_));
    extend(made, NID_basic_constraints, is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (!is_authority) extend(made, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_sign(made, key_, EVP_sha256());
    return made;
  }
  static void extend(X509* made, int what, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, what, value);
    X509_add_ext(made, extension, -1);
    X509_EXTENSION_free(extension);
  }
  static std::string pem(const X509* value) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, value);
    return text_of(bio);
  }
  static std::string pem(const EVP_PKEY* value) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, value, nullptr, nullptr, 0, nullptr, nullptr);
    return text_of(bio);
  }
  static std::string text_of(BIO* bio) {
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio, &text);
    std::string copy(text, static_cast<size_t>(size));
    BIO_free(bio);
    return copy;
  }

  EVP_PKEY* key_;
  X509* certificate_ = nullptr;
};

}  // namespace gridquant::auth
