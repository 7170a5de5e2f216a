// A stage's `if:` as the expression that the run evaluates: params and matrix replaced, stages.* checked.
#pragma once

#include <string>
#include <vector>

#include "coordinator/spec/graph.h"

namespace gridquant::spec {

class ConditionReader {
 public:
  ConditionReader(const std::vector<StageDraft>& drafts, const Graph& graph, const Names& names, const Params& params,
                  const Context& context)
      : drafts_(drafts), graph_(graph), names_(names), params_(params), context_(context) {}

  // The condition of one instance; "" if it has none, always holds, or is wrong (and reported).
  std::string read(int index);

 private:
  static constexpr long kMaxVisits = 20'000'000;

  NameInfo look_up(int index, const std::vector<std::string>& path, const Position& at);
  int instance_named(int index, const std::string& name, const Position& at);  // -1: reported
  bool is_above(int index, int other);
  const MatrixValues& values(int index) const;

  const std::vector<StageDraft>& drafts_;
  const Graph& graph_;
  const Names& names_;
  const Params& params_;
  const Context& context_;
  long visits_ = 0;  // of all searches together; when used up, every stage counts as above
};

}  // namespace gridquant::spec
