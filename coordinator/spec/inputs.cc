// Which stage's result each stage reads. One pass in the order of the needs: a stage's nearest producers follow from
// those of its needs, so the cost is edges times kinds of stage, not paths.
#include <algorithm>
#include <limits>
#include <memory>

#include "coordinator/spec/graph.h"

namespace gridquant::spec {
namespace {

constexpr int kFar = std::numeric_limits<int>::max() / 2;
constexpr size_t kMaxCandidates = 2 * kMaxInstances;  // more are as ambiguous as these

// The nearest stages of one kind above a stage.
struct Nearest {
  int distance = kFar;
  std::shared_ptr<const std::vector<int>> producers;  // sorted; shared along chains
  bool reported = false;                              // missing or ambiguous for a stage above: the same mistake
};

class InputFinder {
 public:
  InputFinder(const std::vector<StageDraft>& drafts, Graph& graph, const Context& context)
      : drafts_(drafts),
        graph_(graph),
        context_(context),
        kinds_(stages::all_stages().size()),
        nearest_(graph.nodes.size() * kinds_) {}

  void visit(int index) {
    GraphNode& node = graph_.nodes[index];
    const StageDraft& draft = drafts_[node.draft];
    node.uncertain = draft.needs_broken || draft.info == nullptr;
    for (const int need : node.needs) {
      node.uncertain = node.uncertain || graph_.nodes[need].uncertain;
      for (size_t kind = 0; kind < kinds_; ++kind) merge(at(index, kind), seen_through(need, kind));
    }
    for (size_t kind = 0; kind < kinds_; ++kind) narrow(node, at(index, kind));
    if (draft.info == nullptr) return;
    std::vector<std::string> missing;
    for (const std::string& input : draft.info->inputs) take(index, input, missing);
    if (!missing.empty()) report_missing(draft, missing);
  }

 private:
  Nearest& at(int index, size_t kind) { return nearest_[index * kinds_ + kind]; }

  const stages::StageInfo& kind_info(size_t kind) const { return stages::all_stages()[kind]; }

  Nearest seen_through(int need, size_t kind) {
    const StageDraft& draft = drafts_[graph_.nodes[need].draft];
    if (draft.info == &kind_info(kind)) return {1, std::make_shared<const std::vector<int>>(1, need), false};
    Nearest above = at(need, kind);
    if (above.distance != kFar) ++above.distance;
    return above;
  }

  static void merge(Nearest& into, const Nearest& other) {
    if (other.distance > into.distance) return;
    if (other.distance < into.distance) {
      into = other;
      return;
    }
    into.reported = into.reported || other.reported;
    if (other.distance == kFar) return;
    if (into.producers == other.producers || into.producers->size() >= kMaxCandidates) return;
    auto both = std::make_shared<std::vector<int>>();
    std::set_union(into.producers->begin(), into.producers->end(), other.producers->begin(), other.producers->end(),
                   std::back_inserter(*both));
    into.producers = std::move(both);
  }

  const MatrixValues& values(int index) const {
    const GraphNode& node = graph_.nodes[index];
    return drafts_[node.draft].instances[node.instance].values;
  }

  // The instance's own matrix decides between producers, for itself and for those that read through it.
  void narrow(const GraphNode& node, Nearest& nearest) const {
    const MatrixValues& own = drafts_[node.draft].instances[node.instance].values;
    if (own.empty() || nearest.distance == kFar || nearest.producers->size() < 2) return;
    auto matching = std::make_shared<std::vector<int>>();
    for (const int producer : *nearest.producers) {
      if (agree(own, values(producer))) matching->push_back(producer);
    }
    if (!matching->empty()) nearest.producers = std::move(matching);
  }

  // One input of one instance; what is missing is reported for all inputs together.
  void take(int index, const std::string& input, std::vector<std::string>& missing) {
    GraphNode& node = graph_.nodes[index];
    const stages::StageInfo* info = stages::find_stage(input);
    if (info == nullptr) return;
    Nearest& nearest = at(index, static_cast<size_t>(info - stages::all_stages().data()));
    const bool found = nearest.distance != kFar;
    if (found && nearest.producers->size() == 1) {
      node.inputs[input] = nearest.producers->front();
      return;
    }
    if (node.uncertain || nearest.reported) return;
    nearest.reported = true;
    if (found) {
      report_ambiguous(drafts_[node.draft], input, *nearest.producers);
    } else {
      missing.push_back(input);
    }
  }

  // The needs are where the mistake is; without any, the stage.
  static const Position& place(const StageDraft& draft) {
    const YEntry* needs = find_entry(*draft.node, "needs");
    return needs == nullptr ? draft.key->at : needs->key->at;
  }

  void report_ambiguous(const StageDraft& draft, const std::string& input, const std::vector<int>& producers) {
    const GraphNode& first = graph_.nodes[producers[0]];
    const std::string more = producers.size() > 2 ? " or others" : "";
    std::string hint = "need only one of them";
    if (drafts_[first.draft].has_matrix) hint += ", or give '" + draft.key->text + "' a matrix with the same keys";
    context_.sink.add(Code::kAmbiguousInput, place(draft),
                      "stage '" + draft.key->text + "' could read the " + input + " result of '" + name(producers[0]) +
                          "' or '" + name(producers[1]) + "'" + more,
                      std::move(hint));
  }

  void report_missing(const StageDraft& draft, const std::vector<std::string>& missing) {
    std::string kinds;
    std::string hint;
    for (size_t i = 0; i < missing.size(); ++i) {
      const bool vowel = std::string_view("aeiou").find(missing[i][0]) != std::string_view::npos;
      const std::string separator = i == 0 ? "" : i + 1 == missing.size() ? " and " : ", ";
      kinds += separator + (vowel ? "an " : "a ") + missing[i];
      hint += (i == 0 ? "" : "; ") + suggest_producer(missing[i]);
    }
    context_.sink.add(
        Code::kMissingInput, place(draft),
        "stage '" + draft.key->text + "' reads the result of " + kinds + " stage, but none is among its needs",
        std::move(hint));
  }

  const std::string& name(int index) const {
    const GraphNode& node = graph_.nodes[index];
    return drafts_[node.draft].instances[node.instance].name;
  }

  std::string suggest_producer(const std::string& input) const {
    for (const StageDraft& draft : drafts_) {
      if (draft.info != nullptr && draft.info->name == input) return "add '" + draft.key->text + "' to 'needs'";
    }
    return "add a stage with 'uses: " + input + "' and need it";
  }

  const std::vector<StageDraft>& drafts_;
  Graph& graph_;
  const Context& context_;
  size_t kinds_;
  std::vector<Nearest> nearest_;
};

}  // namespace

void find_inputs(const std::vector<StageDraft>& drafts, const std::vector<int>& order, Graph& graph,
                 const Context& context) {
  InputFinder finder(drafts, graph, context);
  for (const int d : order) {
    for (size_t i = 0; i < drafts[d].instances.size(); ++i) finder.visit(graph.first[d] + static_cast<int>(i));
  }
}

}  // namespace gridquant::spec
