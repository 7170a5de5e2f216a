// X.509 certificates through OpenSSL: what they say, whether an authority vouches for them, whether a key is theirs. No
// connection is made here, and no key is kept.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/status.h"

namespace gridquant::base {

struct CertificateInfo {
  std::string subject;                        // "CN=node-1", as OpenSSL prints it on one line
  int64_t not_before_s = 0, not_after_s = 0;  // since 1970
};

// The first certificate of a PEM text. InvalidArgument if there is none.
StatusOr<CertificateInfo> read_certificate(const std::string& pem);

// Whether the first certificate of `chain` may act as a client, by an authority of `roots`; the rest of `chain` may be
// needed to get there. Times are of now. Unauthenticated says why not; InvalidArgument: no PEM.
Status verify_client_certificate(const std::string& chain, const std::string& roots);

// InvalidArgument if `key` is no private key, or not that of the first certificate of `certificate`.
Status check_key_pair(const std::string& certificate, const std::string& key);

std::string random_hex(size_t bytes);  // from the operating system, for secrets; two digits a byte

}  // namespace gridquant::base
