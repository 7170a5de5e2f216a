// SHA-256, as lower-case hexadecimal: the name of every piece of content.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::base {

class Digester {
 public:
  Digester();
  ~Digester();
  Digester(Digester&&) noexcept;
  Digester& operator=(Digester&&) noexcept;
  void update(std::span<const std::byte> data);
  void update(std::string_view text);
  std::string finish();  // 64 hexadecimal digits; no update may follow

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string digest_of(std::string_view text);
StatusOr<std::string> digest_of_file(Env& env, const std::string& path);

}  // namespace gridquant::base
