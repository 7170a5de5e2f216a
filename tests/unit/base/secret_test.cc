// Secrets in files: for their owner's eyes, whatever became of whoever made them.
#include "engine/base/secret.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

namespace gridquant::base {
namespace {

int mode_of(const std::string& path) {
  struct stat about = {};
  return ::stat(path.c_str(), &about) == 0 ? static_cast<int>(about.st_mode & 0777) : -1;
}

TEST(SecretTest, ItsFileIsItsOwnersAlone) {
  char folder[] = "/tmp/gridquant_secret_XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  Env& env = posix_env();
  const std::string path = std::string(folder) + "/secret";
  const auto made = load_or_make_secret(env, path);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(mode_of(path), 0600);
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0) << "as of a process that was killed after it had written the file";
  EXPECT_EQ(load_or_make_secret(env, path).value_or(""), *made);
  EXPECT_EQ(mode_of(path), 0600);
  EXPECT_TRUE(env.remove_tree(folder).ok());
}

}  // namespace
}  // namespace gridquant::base
