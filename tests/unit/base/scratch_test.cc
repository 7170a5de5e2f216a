// Scratch memory on a real file system.
#include "engine/base/scratch.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>

namespace gridquant::base {
namespace {

class Scratch : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "gridquant-scratch-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST_F(Scratch, KeepsItsContentAndHasNoName) {
  constexpr size_t kBytes = 3 * 4096 + 100;
  auto scratch = make_scratch(posix_env(), folder_ + "/x.tmp", kBytes);
  ASSERT_TRUE(scratch.ok()) << scratch.status();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  const std::span<std::byte> bytes = (*scratch)->bytes();
  ASSERT_EQ(bytes.size(), kBytes);
  for (const std::byte b : bytes) ASSERT_EQ(b, std::byte{0});
  for (size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<std::byte>(i % 251);
  (*scratch)->release(0, kBytes);
  (*scratch)->release(5000, 100);
  (*scratch)->release(kBytes, 1);
  for (size_t i = 0; i < kBytes; ++i) ASSERT_EQ(bytes[i], static_cast<std::byte>(i % 251)) << i;
}

TEST_F(Scratch, AFileThatAKilledProcessLeftIsReplaced) {
  ASSERT_TRUE(write_file_atomically(posix_env(), folder_ + "/x.tmp", std::string(9000, 'x')).ok());
  auto scratch = make_scratch(posix_env(), folder_ + "/x.tmp", 100);
  ASSERT_TRUE(scratch.ok()) << scratch.status();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EXPECT_EQ((*scratch)->bytes()[0], std::byte{0});
}

TEST_F(Scratch, WhatTheDiskCannotHoldIsAnErrorAndLeavesNothing) {
  auto scratch = make_scratch(posix_env(), folder_ + "/x.tmp", size_t{1} << 60);
  EXPECT_TRUE(absl::IsResourceExhausted(scratch.status())) << scratch.status();
  EXPECT_NE(scratch.status().message().find("x.tmp"), std::string_view::npos) << scratch.status();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  scratch = make_scratch(posix_env(), folder_ + "/not/there", 10);
  EXPECT_TRUE(absl::IsNotFound(scratch.status())) << scratch.status();
}

TEST_F(Scratch, WithoutADiskItIsMemory) {
  const auto env = make_memory_env();
  auto scratch = make_scratch(*env, "x.tmp", 10);
  ASSERT_TRUE(scratch.ok()) << scratch.status();
  EXPECT_FALSE(env->exists("x.tmp"));
  EXPECT_EQ((*scratch)->bytes().size(), 10u);
}

}  // namespace
}  // namespace gridquant::base
