// The failing file system reports each operation, and an atomic write survives a failure at any of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/env.h"

namespace gridquant::base {
namespace {

using ::testing::ElementsAre;

Status no_fault(std::string_view, const std::string&) {
  return absl::OkStatus();
}

TEST(FaultyEnv, AsksBeforeEachOperation) {
  const auto memory = make_memory_env();
  std::vector<std::string> asked;
  const auto env = make_faulty_env(*memory, [&](std::string_view operation, const std::string& path) {
    asked.push_back(std::string(operation) + " " + path);
    return absl::OkStatus();
  });
  ASSERT_TRUE(env->make_folders("d").ok());
  ASSERT_TRUE(write_file_atomically(*env, "d/f", "x").ok());
  ASSERT_TRUE(read_file(*env, "d/f").ok());
  ASSERT_TRUE(env->link_or_copy("d/f", "d/g").ok());
  ASSERT_TRUE(env->remove_file("d/f").ok());
  ASSERT_TRUE(env->remove_tree("d").ok());
  EXPECT_THAT(asked, ElementsAre("make_folders d", "create d/f.tmp", "append d/f.tmp", "sync d/f.tmp", "rename d/f",
                                 "sync_folder d", "read d/f", "link d/g", "remove d/f", "remove d"));
}

TEST(FaultyEnv, ARefusedOperationDoesNotHappen) {
  const auto memory = make_memory_env();
  ASSERT_TRUE(write_file_atomically(*memory, "f", "x").ok());
  const auto env = make_faulty_env(*memory, [](std::string_view operation, const std::string&) {
    return operation == "remove" || operation == "read" ? absl::UnavailableError("no") : absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsUnavailable(env->remove_file("f")));
  EXPECT_TRUE(absl::IsUnavailable(read_file(*env, "f").status()));
  EXPECT_EQ(read_file(*memory, "f").value_or(""), "x");
}

// One operation fails, or (a crash) it and all after it: the file has its old or its new content, whole.
TEST(AtomicWrite, OldOrNewWhateverFails) {
  for (const bool crash : {false, true}) {
    for (int failing = 0;; ++failing) {
      const auto memory = make_memory_env();
      ASSERT_TRUE(write_file_atomically(*memory, "f", "old").ok());
      int count = 0;
      const auto env = make_faulty_env(*memory, [&](std::string_view, const std::string&) {
        const int number = count++;
        return number == failing || (crash && number > failing) ? absl::ResourceExhaustedError("full")
                                                                : absl::OkStatus();
      });
      const Status status = write_file_atomically(*env, "f", "new");
      const std::string content = read_file(*memory, "f").value_or("");
      if (status.ok()) {
        EXPECT_EQ(failing, 5);  // create, append, sync, rename, sync_folder
        EXPECT_EQ(content, "new");
        break;
      }
      EXPECT_TRUE(absl::IsResourceExhausted(status));
      EXPECT_EQ(content, failing < 4 ? "old" : "new");
      EXPECT_TRUE(crash || !memory->exists("f.tmp")) << failing;
      ASSERT_TRUE(write_file_atomically(*memory, "f", "newer").ok());
      EXPECT_THAT(memory->list(".").value(), ElementsAre("f"));
    }
  }
}

TEST(FaultyEnv, PassesQuestionsThrough) {
  const auto memory = make_memory_env();
  const auto env = make_faulty_env(*memory, no_fault);
  ASSERT_TRUE(env->make_folders("a").ok());
  EXPECT_TRUE(env->exists("a"));
  EXPECT_TRUE(env->is_folder("a"));
  EXPECT_TRUE(env->sync_folder("a").ok());
  EXPECT_TRUE(env->free_bytes("a").ok());
  EXPECT_THAT(env->list(".").value(), ElementsAre("a"));
}

}  // namespace
}  // namespace gridquant::base
