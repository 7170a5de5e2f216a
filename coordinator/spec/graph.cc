#include "coordinator/spec/graph.h"

#include <algorithm>

namespace gridquant::spec {
namespace {

void resolve_names(std::vector<StageDraft>& drafts, const Names& names, const Context& context) {
  std::vector<std::string> known;
  for (const StageDraft& draft : drafts) known.push_back(draft.key->text);
  for (StageDraft& draft : drafts) {
    for (Need& need : draft.needs) {
      const auto found = names.find(need.node->text);
      if (found != names.end()) {
        need.draft = found->second.draft;
        need.instance = found->second.instance;
        continue;
      }
      draft.needs_broken = true;
      context.sink.add(Code::kUnknownNeed, need.node->at,
                       "stage '" + shorten(draft.key->text) + "' needs '" + shorten(need.node->text) +
                           "', which is no stage of this file",
                       context.sink.suggest(need.node->text, known));
    }
  }
}

// Depth-first over the drafts without recursion: a chain may have 10,000 stages.
class CycleFinder {
 public:
  CycleFinder(std::vector<StageDraft>& drafts, const Context& context)
      : drafts_(drafts), context_(context), state_(drafts.size(), State::kNew) {}

  std::vector<int> order() {
    for (size_t d = 0; d < drafts_.size(); ++d) {
      if (state_[d] == State::kNew) walk(static_cast<int>(d));
    }
    return std::move(order_);
  }

 private:
  enum class State : char { kNew, kOpen, kDone };
  struct Step {
    int draft;
    size_t next_need = 0;
  };

  void walk(int start) {
    path_.assign(1, {start});
    state_[start] = State::kOpen;
    while (!path_.empty()) {
      Step& top = path_.back();
      StageDraft& draft = drafts_[top.draft];
      if (top.next_need == draft.needs.size()) {
        state_[top.draft] = State::kDone;
        order_.push_back(top.draft);
        path_.pop_back();
        continue;
      }
      Need& need = draft.needs[top.next_need++];
      if (need.draft < 0 || state_[need.draft] == State::kDone) continue;
      if (state_[need.draft] == State::kOpen) {
        report(draft, need);
      } else {
        state_[need.draft] = State::kOpen;
        path_.push_back({need.draft});
      }
    }
  }

  void report(StageDraft& draft, Need& need) {
    const auto begin = std::find_if(path_.begin(), path_.end(), [&](const Step& s) { return s.draft == need.draft; });
    std::string circle;
    const auto length = path_.end() - begin;
    for (auto step = begin; step != path_.end(); ++step) {
      if (length > 12 && step - begin == 6) {
        circle += "... -> ";
        step = path_.end() - 5;
      }
      circle += drafts_[step->draft].key->text + " -> ";
      drafts_[step->draft].needs_broken = true;
    }
    circle += drafts_[need.draft].key->text;
    need.draft = -1;
    draft.needs_broken = true;
    context_.sink.add(
        Code::kCycle, need.node->at,
        length == 1 ? "stage '" + draft.key->text + "' needs itself" : "stages need each other in a circle: " + circle,
        length == 1 ? "" : "'->' means 'needs'");
  }

  std::vector<StageDraft>& drafts_;
  const Context& context_;
  std::vector<State> state_;
  std::vector<Step> path_;
  std::vector<int> order_;
};

}  // namespace

Names collect_names(const std::vector<StageDraft>& drafts, const Context& context) {
  Names names;
  for (size_t d = 0; d < drafts.size(); ++d) names.emplace(drafts[d].key->text, Named{static_cast<int>(d), -1});
  for (size_t d = 0; d < drafts.size(); ++d) {
    if (!drafts[d].has_matrix) continue;
    for (size_t i = 0; i < drafts[d].instances.size(); ++i) {
      const std::string& name = drafts[d].instances[i].name;
      const auto [found, fresh] = names.emplace(name, Named{static_cast<int>(d), static_cast<int>(i)});
      if (fresh || name == drafts[d].key->text) continue;
      const bool own = found->second.draft == static_cast<int>(d);
      context.sink.add(Code::kMatrixNames, find_entry(*drafts[d].node, "matrix")->key->at,
                       own ? "two values of the matrix give the same stage name '" + name + "'"
                           : "the matrix gives the stage name '" + name + "', which another stage has");
    }
  }
  return names;
}

bool agree(const MatrixValues& a, const MatrixValues& b) {
  for (const auto& [key, value] : a) {
    const auto other = b.find(key);
    if (other != b.end() && other->second != value) return false;
  }
  return true;
}

std::vector<int> resolve_needs(std::vector<StageDraft>& drafts, const Names& names, const Context& context) {
  resolve_names(drafts, names, context);
  return CycleFinder(drafts, context).order();
}

Graph connect(std::vector<StageDraft>& drafts, const std::vector<int>& order, const Context& context) {
  Graph graph;
  for (size_t d = 0; d < drafts.size(); ++d) {
    graph.first.push_back(static_cast<int>(graph.nodes.size()));
    for (size_t i = 0; i < drafts[d].instances.size(); ++i) {
      graph.nodes.push_back({.draft = static_cast<int>(d), .instance = static_cast<int>(i)});
    }
  }
  for (const int d : order) {
    StageDraft& draft = drafts[d];
    for (size_t i = 0; i < draft.instances.size(); ++i) {
      GraphNode& node = graph.nodes[graph.first[d] + i];
      for (const Need& need : draft.needs) {
        if (need.draft < 0) continue;
        const StageDraft& other = drafts[need.draft];
        const size_t before = node.needs.size();
        for (size_t j = 0; j < other.instances.size(); ++j) {
          const bool wanted = need.instance >= 0 ? need.instance == static_cast<int>(j)
                                                 : agree(draft.instances[i].values, other.instances[j].values);
          if (wanted) node.needs.push_back(graph.first[need.draft] + static_cast<int>(j));
        }
        if (node.needs.size() != before) continue;
        draft.needs_broken = true;
        context.sink.add(
            Code::kMatrixMismatch, need.node->at,
            "no instance of '" + other.key->text + "' has the matrix values of '" + draft.instances[i].name + "'",
            "use the same values in both matrices, or name one instance");
      }
      std::sort(node.needs.begin(), node.needs.end());
      node.needs.erase(std::unique(node.needs.begin(), node.needs.end()), node.needs.end());
    }
  }
  return graph;
}

}  // namespace gridquant::spec
