// Runs every row of the conformance table: both compute types, every vector width that this CPU has.
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "hwy/targets.h"
#include "tests/conformance/ops/table.h"

namespace gridquant::ops {
namespace {

std::vector<Row> all_rows() {
  std::vector<Row> rows = product_rows();
  for (const Row& row : elementwise_rows()) rows.push_back(row);
  return rows;
}

using Parameter = std::tuple<Row, Compute>;

class OpConformance : public testing::TestWithParam<Parameter> {
 protected:
  static void use_targets(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  void TearDown() override { use_targets(0); }
};

TEST_P(OpConformance, MatchesTheReference) {
  const auto& [row, compute] = GetParam();
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    use_targets(target);
    row.check(compute, row.dims);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, OpConformance,
                         testing::Combine(testing::ValuesIn(all_rows()),
                                          testing::Values(Compute::kF32, Compute::kBF16)),
                         [](const testing::TestParamInfo<Parameter>& info) {
                           const Row& row = std::get<0>(info.param);
                           return std::string(row.op) + "_" + row.shape + "_" +
                                  device::name_of(std::get<1>(info.param));
                         });

TEST(OpConformanceTable, HasARowForEveryOp) {
  std::set<std::string> tested;
  for (const Row& row : all_rows()) tested.insert(row.op);
#define GRIDQUANT_OP(name) EXPECT_TRUE(tested.contains(#name)) << #name;
#include "engine/ops/ops_list.inc"
#undef GRIDQUANT_OP
}

}  // namespace
}  // namespace gridquant::ops
