// Helpers of the format tests: tensors from values, containers from header text, matchers on statuses.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/env.h"
#include "engine/formats/safetensors.h"

namespace gridquant::formats {

template <typename T>
tensor::Tensor make_tensor(tensor::DType dtype, tensor::Shape shape, const std::vector<T>& values) {
  tensor::Tensor made(dtype, std::move(shape));
  EXPECT_EQ(made.bytes(), values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(made.raw().data(), values.data(), made.bytes());
  return made;
}

template <typename T>
NamedTensor named(const std::string& name, tensor::DType dtype, tensor::Shape shape, const std::vector<T>& values) {
  return {name, make_tensor(dtype, std::move(shape), values)};
}

// The file that this header text and data make.
inline std::string container(std::string_view header, std::string_view data) {
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(uint64_t{header.size()} >> (8 * i) & 0xff);
  return file.append(header).append(data);
}

inline void put(base::Env& env, const std::string& path, std::string_view content) {
  ASSERT_TRUE(env.make_folders(base::folder_of(path)).ok());
  ASSERT_TRUE(base::write_file_atomically(env, path, content).ok()) << path;
}

inline std::string get(base::Env& env, const std::string& path) {
  return base::read_file(env, path).value_or("<error>");
}

// A message that names everything it should.
inline void expect_message(const Status& status, const std::vector<std::string>& parts) {
  EXPECT_FALSE(status.ok());
  for (const std::string& part : parts) {
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(part)) << status;
  }
}

}  // namespace gridquant::formats
