// Pieces, acknowledgements, gaps and reconnections of a log that goes to the coordinator.
#include "node/daemon/log_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gridquant::node {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class LogRelayTest : public testing::Test {
 protected:
  void write(const std::string& content) {
    ASSERT_TRUE(env_->make_folders("/logs").ok());
    ASSERT_TRUE(base::write_file_atomically(*env_, "/logs/1", content).ok());
  }
  // What a coordinator that takes every piece in its place makes of them.
  void deliver(const std::vector<LogPiece>& pieces) {
    for (const LogPiece& piece : pieces) {
      if (piece.offset == there_.size()) {
        there_ += piece.data;
        complete_ |= piece.last;
      }
      relay_.acknowledged(piece.epoch, there_.size());
    }
  }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
  LogRelay relay_{*env_};
  std::string there_;
  bool complete_ = false;
};

TEST_F(LogRelayTest, AGrowingLogComesInPiecesUntilItsEnd) {
  write("one\n");
  relay_.add(1, "r/s/attempt-1", "/logs/1");
  deliver(relay_.next(10));
  EXPECT_EQ(there_, "one\n");
  EXPECT_THAT(relay_.next(10), IsEmpty());
  write("one\ntwo\n");
  deliver(relay_.next(10));
  EXPECT_EQ(there_, "one\ntwo\n");
  EXPECT_THAT(relay_.finished(), IsEmpty());
  relay_.end(1);
  deliver(relay_.next(10));
  EXPECT_TRUE(complete_);
  EXPECT_THAT(relay_.finished(), ElementsAre(1));
  EXPECT_THAT(relay_.next(10), IsEmpty());
}

TEST_F(LogRelayTest, NoMoreThanTheWindowIsUnacknowledged) {
  write(std::string(1'000'000, 'x'));
  relay_.add(1, "n", "/logs/1");
  const std::vector<LogPiece> pieces = relay_.next(100);
  ASSERT_EQ(pieces.size(), LogRelay::kMaxUnacknowledged / LogRelay::kPieceBytes);
  EXPECT_THAT(relay_.next(100), IsEmpty());
  EXPECT_EQ(pieces[1].offset, LogRelay::kPieceBytes);
  relay_.end(1);
  deliver(pieces);
  for (int i = 0; i < 100 && !complete_; ++i) deliver(relay_.next(1));
  EXPECT_TRUE(complete_);
  EXPECT_EQ(there_.size(), 1'000'000u);
}

TEST_F(LogRelayTest, ALostPieceIsSentAgain) {
  write(std::string(200'000, 'x'));
  relay_.add(1, "n", "/logs/1");
  relay_.end(1);
  std::vector<LogPiece> pieces = relay_.next(10);
  ASSERT_EQ(pieces.size(), 4u);
  pieces.erase(pieces.begin() + 1);
  for (int i = 0; i < 20 && !complete_; ++i) {
    deliver(pieces);
    pieces = relay_.next(10);
  }
  EXPECT_TRUE(complete_);
  EXPECT_EQ(there_.size(), 200'000u);
  EXPECT_THAT(relay_.finished(), ElementsAre(1));
}

TEST_F(LogRelayTest, AfterAReconnectItGoesOnFromWhatIsThere) {
  write(std::string(100'000, 'x'));
  relay_.add(1, "n", "/logs/1");
  relay_.end(1);
  deliver({relay_.next(1)});
  relay_.next(10);  // lost with the stream, the end too
  relay_.reconnected();
  deliver(relay_.next(10));
  EXPECT_TRUE(complete_);
  EXPECT_EQ(there_.size(), 100'000u);
}

TEST_F(LogRelayTest, ACoordinatorThatKnowsMoreOrLessIsBelieved) {
  write("0123456789");
  relay_.add(1, "n", "/logs/1");  // of an earlier agent process: how much arrived is not known
  relay_.end(1);
  relay_.next(10);
  relay_.acknowledged(1, 4);
  there_ = "0123";
  deliver(relay_.next(10));
  EXPECT_EQ(there_, "0123456789");
  EXPECT_TRUE(complete_);
}

TEST_F(LogRelayTest, ALogThatIsGoneHoldsNothingUp) {
  write("abc");
  relay_.add(1, "n", "/logs/1");
  deliver(relay_.next(10));
  ASSERT_TRUE(env_->remove_file("/logs/1").ok());
  relay_.end(1);
  relay_.next(10);
  EXPECT_THAT(relay_.finished(), ElementsAre(1));
}

}  // namespace
}  // namespace gridquant::node
