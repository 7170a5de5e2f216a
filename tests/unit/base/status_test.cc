// The table from status codes to exit codes to failure classes.
#include "engine/base/status.h"

#include <gtest/gtest.h>

namespace gridquant {
namespace {

TEST(ExitCodes, EveryStatusHasItsCode) {
  EXPECT_EQ(exit_code_for(absl::OkStatus()), ExitCode::kDone);
  EXPECT_EQ(exit_code_for(absl::InvalidArgumentError("")), ExitCode::kParameters);
  EXPECT_EQ(exit_code_for(absl::NotFoundError("")), ExitCode::kInput);
  EXPECT_EQ(exit_code_for(absl::OutOfRangeError("")), ExitCode::kInput);
  EXPECT_EQ(exit_code_for(absl::FailedPreconditionError("")), ExitCode::kInput);
  EXPECT_EQ(exit_code_for(absl::PermissionDeniedError("")), ExitCode::kInput);
  EXPECT_EQ(exit_code_for(absl::UnimplementedError("")), ExitCode::kUnsupported);
  EXPECT_EQ(exit_code_for(absl::InternalError("")), ExitCode::kInvariant);
  EXPECT_EQ(exit_code_for(absl::DataLossError("")), ExitCode::kCorruption);
  EXPECT_EQ(exit_code_for(absl::ResourceExhaustedError("")), ExitCode::kNoSpace);
  EXPECT_EQ(exit_code_for(absl::CancelledError("")), ExitCode::kCancelled);
  EXPECT_EQ(exit_code_for(absl::DeadlineExceededError("")), ExitCode::kTimeout);
  EXPECT_EQ(exit_code_for(absl::AbortedError("")), ExitCode::kPeerLost);
  EXPECT_EQ(exit_code_for(absl::UnavailableError("")), ExitCode::kIo);
  EXPECT_EQ(exit_code_for(absl::UnknownError("")), ExitCode::kIo);
}

TEST(ExitCodes, DecideWhatIsRetried) {
  EXPECT_EQ(failure_class_for(10), FailureClass::kUser);
  EXPECT_EQ(failure_class_for(15), FailureClass::kUser);
  EXPECT_EQ(failure_class_for(14), FailureClass::kCorruption);
  EXPECT_EQ(failure_class_for(127), FailureClass::kUser);
  EXPECT_EQ(failure_class_for(132), FailureClass::kInfrastructure);
  EXPECT_EQ(failure_class_for(128 + 9), FailureClass::kInfrastructure);
}

TEST(Annotate, PutsContextInFrontAndKeepsTheCode) {
  const Status status = annotate(absl::DataLossError("bad"), "block 3");
  EXPECT_EQ(status, absl::DataLossError("block 3: bad"));
  EXPECT_TRUE(annotate(absl::OkStatus(), "block 3").ok());
}

}  // namespace
}  // namespace gridquant
