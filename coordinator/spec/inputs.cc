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
    for (const std::string& input : draft.info->inputs) take(index, input);
  }

 private:
  Nearest& at(int index, size_t kind) { return nearest_[index * kinds_ + kind]; }

  const stages::StageInfo& kind_info(size_t kind) const { return stages::all_stages()[kind]; }

  Nearest seen_through(int need, size_t kind) {
    const StageDraft& draft = drafts_[graph_.nodes[need].draft];
    if (draft.info == &kind_info(kind)) return {1, std::make_shared<const std::vector<int>>(1, need)};
    Nearest above = at(need, kind);
    if (above.distance != kFar) ++above.distance;
    return above;
  }

  static void merge(Nearest& into, const Nearest& other) {
    if (other.distance == kFar || other.distance > into.distance) return;
    if (other.distance < into.distance) {
      into = other;
      return;
    }
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

  void take(int index, const std::string& input) {
    GraphNode& node = graph_.nodes[index];
    const StageDraft& draft = drafts_[node.draft];
    const stages::StageInfo* info = stages::find_stage(input);
    if (info == nullptr) return;
    const Nearest& nearest = at(index, static_cast<size_t>(info - stages::all_stages().data()));
    const YEntry* needs = find_entry(*draft.node, "needs");
    const Position& where = needs == nullptr ? draft.key->at : needs->key->at;
    if (nearest.distance == kFar) {
      if (node.uncertain) return;
      context_.sink.add(Code::kMissingInput, where,
                        "stage '" + draft.key->text + "' reads the result of " + article(input) + input +
                            " stage, but none is among its needs",
                        suggest_producer(input));
      return;
    }
    if (nearest.producers->size() == 1) {
      node.inputs[input] = nearest.producers->front();
      return;
    }
    if (node.uncertain) return;
    context_.sink.add(Code::kAmbiguousInput, where,
                      "stage '" + draft.key->text + "' could read the " + input + " result of '" +
                          name((*nearest.producers)[0]) + "' or '" + name((*nearest.producers)[1]) + "'" +
                          (nearest.producers->size() > 2 ? " or others" : ""),
                      "name one instance in 'needs', or give '" + draft.key->text + "' a matrix with the same keys");
  }

  static std::string article(const std::string& word) {
    return std::string_view("aeiou").find(word[0]) != std::string_view::npos ? "an " : "a ";
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
