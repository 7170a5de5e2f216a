// How the two sides of a connection prove who they are, as options and the environment say it. Plain data;
// credentials.h makes gRPC's objects of it.
#pragma once

#include <string>

namespace gridquant::auth {

struct TlsFiles {
  std::string certificate = {}, key = {};  // PEM; the chain, its own certificate first
  std::string ca = {};                     // PEM: who signs the other side's certificate
  bool any() const { return !certificate.empty() || !key.empty() || !ca.empty(); }
};

struct ServerSecurity {
  TlsFiles tls = {};            // all three or none
  std::string token_file = {};  // see tokens.h; "": no tokens
  bool insecure = false;        // listen beyond this machine without TLS
  int reload_s = 2;
};

struct ClientSecurity {
  TlsFiles tls = {};            // `ca` makes it TLS; certificate and key together or not at all
  std::string token_file = {};  // holds the token; read for every call
  int reload_s = 2;
};

// HOST:PORT of this machine only: 127.x.x.x, localhost, ::1, unix:.
bool is_loopback(const std::string& address);

}  // namespace gridquant::auth
