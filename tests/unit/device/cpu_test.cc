// What follows from a processor's features; the detection itself only for consistency, because the test runs anywhere.
#include "engine/device/cpu.h"

#include <gtest/gtest.h>

namespace gridquant::device {
namespace {

CpuInfo cpu_with(const std::string& model, int level) {
  CpuInfo cpu;
  cpu.model = model;
  cpu.avx2 = level >= 1;
  cpu.avx512 = level >= 2;
  cpu.avx512_bf16 = level >= 3;
  cpu.amx_bf16 = level >= 4;
  return cpu;
}

TEST(Cpu, DetectionIsConsistent) {
  const CpuInfo cpu = detect_cpu();
  EXPECT_GE(cpu.cores, 1);
  EXPECT_FALSE(cpu.model.empty());
  EXPECT_TRUE(!cpu.avx512 || cpu.avx2);
  EXPECT_TRUE(!cpu.avx512_bf16 || cpu.avx512);
  EXPECT_TRUE(!cpu.amx_bf16 || cpu.avx512);
  EXPECT_EQ(cpu.kind(), detect_cpu().kind());
}

TEST(Cpu, KindNamesTheBestProducts) {
#if defined(__x86_64__)
  EXPECT_EQ(cpu_with("x", 0).kind(), "x86-64 sse2");
  EXPECT_EQ(cpu_with("x", 1).kind(), "x86-64 avx2");
  EXPECT_EQ(cpu_with("x", 2).kind(), "x86-64 avx512");
  EXPECT_EQ(cpu_with("x", 3).kind(), "x86-64 avx512_bf16");
  EXPECT_EQ(cpu_with("x", 4).kind(), "x86-64 amx_bf16");
#endif
}

TEST(Cpu, ComputeTypes) {
  EXPECT_EQ(*resolve_compute("auto", cpu_with("x", 1)), Compute::kF32);
  EXPECT_EQ(*resolve_compute("auto", cpu_with("x", 2)), Compute::kF32);
  EXPECT_EQ(*resolve_compute("auto", cpu_with("x", 3)), Compute::kBF16);
  EXPECT_EQ(*resolve_compute("fp32", cpu_with("x", 4)), Compute::kF32);
  EXPECT_EQ(*resolve_compute("bf16", cpu_with("x", 0)), Compute::kBF16);
  EXPECT_EQ(resolve_compute("fp16", cpu_with("x", 4)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_STREQ(name_of(Compute::kF32), "fp32");
  EXPECT_STREQ(name_of(Compute::kBF16), "bf16");
}

TEST(Cpu, HeldToALesserOne) {
  const CpuInfo amx = cpu_with("x", 4);
  EXPECT_EQ(cpu_within(amx, nullptr)->kind(), amx.kind());
  EXPECT_EQ(cpu_within(amx, "")->kind(), amx.kind());
  EXPECT_EQ(cpu_within(amx, "avx512_bf16")->kind(), cpu_with("x", 3).kind());
  EXPECT_EQ(cpu_within(amx, "avx512")->kind(), cpu_with("x", 2).kind());
  EXPECT_EQ(cpu_within(amx, "avx2")->kind(), cpu_with("x", 1).kind());
  EXPECT_EQ(cpu_within(cpu_with("x", 1), "avx512")->kind(), cpu_with("x", 1).kind());  // nothing is added
  const auto unknown = cpu_within(amx, "avx3");
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(unknown.status().message().find("GRIDQUANT_MAX_CPU=avx3"), std::string::npos);
}

}  // namespace
}  // namespace gridquant::device
