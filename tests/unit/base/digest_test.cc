// SHA-256: the standard's known answers, and that pieces make the same whole.
#include "engine/base/digest.h"

#include <gtest/gtest.h>

namespace gridquant::base {
namespace {

constexpr char kOfNothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kOfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kOfMillionA[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Digest, KnownAnswers) {
  EXPECT_EQ(digest_of(""), kOfNothing);
  EXPECT_EQ(digest_of("abc"), kOfAbc);
  EXPECT_EQ(digest_of(std::string(1'000'000, 'a')), kOfMillionA);
}

TEST(Digest, PiecesMakeTheSameWhole) {
  Digester digester;
  digester.update("a");
  Digester moved = std::move(digester);
  moved.update(std::string_view());
  moved.update(std::as_bytes(std::span("bc", 2)));
  EXPECT_EQ(moved.finish(), kOfAbc);
}

TEST(Digest, OfFilesOfAnySize) {
  const auto env = make_memory_env();
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1} << 20, (size_t{1} << 20) + 1, size_t{3'000'000}}) {
    std::string content(size, 'x');
    for (size_t i = 0; i < size; i += 1000) content[i] = static_cast<char>(i);
    ASSERT_TRUE(write_file_atomically(*env, "file", content).ok());
    const auto digest = digest_of_file(*env, "file");
    ASSERT_TRUE(digest.ok());
    EXPECT_EQ(*digest, digest_of(content)) << size;
  }
  EXPECT_TRUE(absl::IsNotFound(digest_of_file(*env, "absent").status()));
}

}  // namespace
}  // namespace gridquant::base
