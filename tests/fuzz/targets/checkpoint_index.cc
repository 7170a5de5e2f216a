// model.safetensors.index.json beside one good shard.
#include "engine/base/env.h"
#include "engine/formats/checkpoint.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {

void checkpoint_index(std::string_view bytes) {
  constexpr std::string_view kHeader = R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  )";
  const auto env = base::make_memory_env();
  env->make_folders("m").IgnoreError();
  std::string shard(8, '\0');
  shard[0] = static_cast<char>(kHeader.size());
  shard.append(kHeader).append(8, '\1');
  require(base::write_file_atomically(*env, "m/a.safetensors", shard).ok(), "no shard");
  require(base::write_file_atomically(*env, "m/model.safetensors.index.json", bytes).ok(), "no index");
  const auto checkpoint = formats::Checkpoint::open(*env, "m");
  if (!checkpoint.ok()) return;
  for (const std::string& name : checkpoint->names()) require(checkpoint->read(name).ok(), "a listed tensor is absent");
}

}  // namespace gridquant::fuzz
