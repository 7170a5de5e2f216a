// One suite for both file systems: what programs rely on must be the same in memory and on disk.
#include "engine/base/env.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

namespace gridquant::base {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EnvTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      char name[] = "/tmp/gridquant_env_XXXXXX";
      ASSERT_NE(::mkdtemp(name), nullptr);
      root_ = name;
      return;
    }
    memory_ = make_memory_env();
    root_ = "/root";
    ASSERT_TRUE(memory_->make_folders(root_).ok());
  }
  void TearDown() override { EXPECT_TRUE(env().remove_tree(root_).ok()); }

  Env& env() { return memory_ != nullptr ? *memory_ : posix_env(); }
  std::string at(const std::string& name) const { return join_path(root_, name); }
  void put(const std::string& name, std::string_view content) {
    ASSERT_TRUE(write_file_atomically(env(), at(name), content).ok());
  }
  std::string get(const std::string& name) { return read_file(env(), at(name)).value_or("<error>"); }

  std::unique_ptr<Env> memory_;
  std::string root_;
};

INSTANTIATE_TEST_SUITE_P(Bodies, EnvTest, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Posix" : "Memory"; });

TEST_P(EnvTest, WritesAndReadsBack) {
  auto file = env().create(at("file"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->append(std::as_bytes(std::span("hello ", 6))).ok());
  ASSERT_TRUE((*file)->append(std::as_bytes(std::span("world", 5))).ok());
  ASSERT_TRUE((*file)->sync().ok());
  ASSERT_TRUE((*file)->close().ok());
  EXPECT_EQ(get("file"), "hello world");
  EXPECT_EQ(env().file_size(at("file")).value_or(0), 11u);
  EXPECT_TRUE(env().exists(at("file")));
  EXPECT_FALSE(env().is_folder(at("file")));
}

TEST_P(EnvTest, ReadsByPositionAndStopsAtTheEnd) {
  put("file", "0123456789");
  const auto file = env().open(at("file"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->size(), 10u);
  EXPECT_EQ((*file)->path(), at("file"));
  std::string part(3, ' ');
  ASSERT_TRUE((*file)->read(4, std::as_writable_bytes(std::span(part))).ok());
  EXPECT_EQ(part, "456");
  const Status past = (*file)->read(8, std::as_writable_bytes(std::span(part)));
  EXPECT_TRUE(absl::IsOutOfRange(past)) << past;
  EXPECT_THAT(std::string(past.message()), HasSubstr(at("file")));
  EXPECT_TRUE((*file)->read(10, {}).ok());
}

TEST_P(EnvTest, CreateTruncates) {
  put("file", "long content");
  auto file = env().create(at("file"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(get("file"), "");
}

TEST_P(EnvTest, AnOpenFileOutlivesItsName) {
  put("file", "old");
  const auto file = env().open(at("file"));
  ASSERT_TRUE(file.ok());
  put("file", "new");
  std::string content(3, ' ');
  ASSERT_TRUE((*file)->read(0, std::as_writable_bytes(std::span(content))).ok());
  EXPECT_EQ(content, "old");
  EXPECT_EQ(get("file"), "new");
}

TEST_P(EnvTest, AbsentThingsAreNotFound) {
  EXPECT_TRUE(absl::IsNotFound(env().open(at("no")).status()));
  EXPECT_TRUE(absl::IsNotFound(env().file_size(at("no")).status()));
  EXPECT_TRUE(absl::IsNotFound(env().list(at("no")).status()));
  EXPECT_TRUE(absl::IsNotFound(env().remove_file(at("no"))));
  EXPECT_TRUE(absl::IsNotFound(env().rename(at("no"), at("x"))));
  EXPECT_TRUE(absl::IsNotFound(env().create(at("no/file")).status()));
  EXPECT_TRUE(absl::IsNotFound(env().link_or_copy(at("no"), at("x"))));
  EXPECT_TRUE(env().remove_tree(at("no")).ok());
  EXPECT_FALSE(env().exists(at("no")));
  EXPECT_THAT(std::string(env().open(at("no")).status().message()), HasSubstr(at("no")));
}

TEST_P(EnvTest, AFolderIsNotAFile) {
  EXPECT_TRUE(absl::IsFailedPrecondition(env().open(root_).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(env().file_size(root_).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(env().create(root_).status()));
}

TEST_P(EnvTest, ListsSortedNames) {
  put("b", "");
  put("a", "");
  ASSERT_TRUE(env().make_folders(at("c/d")).ok());
  put("c/inner", "");
  EXPECT_THAT(env().list(root_).value(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(env().list(at("c")).value(), ElementsAre("d", "inner"));
  EXPECT_TRUE(env().is_folder(at("c/d")));
}

TEST_P(EnvTest, MakesFoldersAboveAndTwice) {
  ASSERT_TRUE(env().make_folders(at("x/y/z")).ok());
  ASSERT_TRUE(env().make_folders(at("x/y/z")).ok());
  EXPECT_TRUE(env().is_folder(at("x/y")));
  EXPECT_TRUE(env().sync_folder(at("x/y")).ok());
  put("plain", "");
  EXPECT_FALSE(env().make_folders(at("plain/below")).ok());
}

TEST_P(EnvTest, RenamesFilesAndFolders) {
  put("a", "first");
  put("b", "second");
  ASSERT_TRUE(env().rename(at("a"), at("b")).ok());
  EXPECT_EQ(get("b"), "first");
  EXPECT_FALSE(env().exists(at("a")));
  ASSERT_TRUE(env().make_folders(at("from/inner")).ok());
  put("from/inner/file", "deep");
  ASSERT_TRUE(env().rename(at("from"), at("to")).ok());
  EXPECT_EQ(get("to/inner/file"), "deep");
  EXPECT_FALSE(env().exists(at("from")));
  ASSERT_TRUE(env().make_folders(at("full/of")).ok());
  EXPECT_FALSE(env().rename(at("to"), at("full")).ok());
  EXPECT_EQ(get("to/inner/file"), "deep");
}

TEST_P(EnvTest, RemovesTrees) {
  ASSERT_TRUE(env().make_folders(at("tree/inner")).ok());
  put("tree/inner/file", "x");
  put("tree2", "stays");
  ASSERT_TRUE(env().remove_tree(at("tree")).ok());
  EXPECT_THAT(env().list(root_).value(), ElementsAre("tree2"));
}

TEST_P(EnvTest, LinksReplaceWhatWasThere) {
  put("from", "content");
  put("to", "other");
  ASSERT_TRUE(env().link_or_copy(at("from"), at("to")).ok());
  EXPECT_EQ(get("to"), "content");
  ASSERT_TRUE(env().link_or_copy(at("from"), at("to")).ok());
  ASSERT_TRUE(env().link_or_copy(at("from"), at("from")).ok());
  EXPECT_EQ(get("from"), "content");
  ASSERT_TRUE(env().remove_file(at("from")).ok());
  EXPECT_EQ(get("to"), "content");
}

TEST_P(EnvTest, SaysHowMuchSpaceIsFreeAlsoForFoldersNotMadeYet) {
  const auto here = env().free_bytes(root_);
  const auto below = env().free_bytes(at("not/made/yet"));
  ASSERT_TRUE(here.ok());
  ASSERT_TRUE(below.ok()) << below.status();
  EXPECT_GT(*below, 0u);
}

TEST_P(EnvTest, AtomicWritesLeaveNothingBeside) {
  put("file", "one");
  put("file", "two");
  EXPECT_EQ(get("file"), "two");
  EXPECT_THAT(env().list(root_).value(), ElementsAre("file"));
}

TEST(MemoryEnv, NormalisesNames) {
  const auto env = make_memory_env();
  ASSERT_TRUE(env->make_folders("a/b").ok());
  ASSERT_TRUE(write_file_atomically(*env, "a//b/../b/file", "x").ok());
  EXPECT_EQ(read_file(*env, "./a/b/file").value_or(""), "x");
  EXPECT_THAT(env->list(".").value(), ElementsAre("a"));
  EXPECT_THAT(env->list("a/").value(), ElementsAre("b"));
}

TEST(PosixEnv, DoesNotHangOnAPipe) {
  char name[] = "/tmp/gridquant_pipe_XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string pipe = join_path(name, "pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(posix_env().open(pipe).status()));
  EXPECT_TRUE(posix_env().remove_tree(name).ok());
}

TEST(PosixEnv, SaysWhatToDoWhenTheDiskIsFull) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "this machine has no /dev/full";
  auto file = posix_env().create("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  const Status status = (*file)->append(std::as_bytes(std::span("x", 1)));
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(status.message(),
            "no space left on device while writing /dev/full; free some space and run the same command again");
}

TEST(PosixEnv, NamesWhatMayNotBeWritten) {
  if (::geteuid() == 0) {  // root may write anywhere but in /proc
    EXPECT_FALSE(posix_env().create("/proc/gridquant").ok());
    return;
  }
  const Status status = posix_env().create("/gridquant-test").status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
}

}  // namespace
}  // namespace gridquant::base
