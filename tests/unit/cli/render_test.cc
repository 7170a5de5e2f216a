// gridquant render: golden files for what it prints, one case for everything that it refuses, and task files that equal
// those of a run. And gridquant completion, in a real bash.
#include <cstdlib>

#include <yaml-cpp/yaml.h>

#include "cli/yaml_text.h"
#include "tests/unit/cli/cli_fixture.h"

namespace gridquant::cli {
namespace {

using testing::HasSubstr;

constexpr char kGolden[] = GRIDQUANT_SOURCE_DIR "/tests/golden/render/";

class RenderTest : public CliTest {
 protected:
  Outcome render(std::vector<std::string> more) {
    more.insert(more.begin(), {"render", "kubernetes"});
    return gridquant(more);
  }
  Outcome bash(const std::string& script) {
    write("script.sh", script);
    const std::string command =
        "cd '" + root_ + "' && PATH=" GRIDQUANT_BIN_DIR ":$PATH bash script.sh >stdout.txt 2>&1";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("stdout.txt"), ""};
  }
  // A pipeline that can be rendered, with `of_spec` in its spec and `of_stage` in its stage.
  void write_renderable(const std::string& of_spec, const std::string& of_stage) {
    write("one.yaml", "apiVersion: gridquant/v1\nkind: Pipeline\nmetadata: {name: one}\nspec:\n" + of_spec +
                          "  stages:\n    analyze: {uses: analyze, with: {model: /gridquant/m}" + of_stage + "}\n");
  }
};

TEST_F(RenderTest, PrintsTheJobOfAPipeline) {
  const std::string pipeline = std::string(kGolden) + "gpu.yaml", expected = std::string(kGolden) + "gpu.expected";
  const Outcome outcome = render({pipeline, "-p", "model=models/m", "--namespace", "ml", "--image", "r/gridquant:1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  if (std::getenv("GRIDQUANT_REGENERATE") != nullptr) std::ofstream(expected) << outcome.out;
  std::stringstream golden;
  golden << std::ifstream(expected).rdbuf();
  EXPECT_EQ(outcome.out, golden.str()) << "GRIDQUANT_REGENERATE=1 writes it anew";
}

TEST_F(RenderTest, RefusesWhatAJobCannotSay) {
  const std::string resources = ", resources: {cores: 1, memory: 1Gi}";
  struct Case {
    const char* spec;
    std::string stage;
    std::vector<std::string> options;
    const char* message;
  };
  const std::vector<Case> cases = {
      {"", ", resources: {memory: 1Gi}", {}, "pass --cores N"},
      {"", ", resources: {cores: 1}", {}, "pass --memory SIZE"},
      {"  priority: 5\n", resources, {}, "--priority-class"},
      {"", resources, {"--mount", "/data"}, "stage analyze: with.model: /gridquant/m is not in the pod"},
      {"", resources, {"--mount", "data"}, "--mount must be an absolute path"},
      {"", resources, {"--memory", "much"}, "--memory must be a size"},
      {"", resources, {"--name", std::string(60, 'a')}, "pass a shorter --name"},
  };
  for (const Case& one : cases) {
    write_renderable(one.spec, one.stage);
    std::vector<std::string> arguments = {"one.yaml"};
    arguments.insert(arguments.end(), one.options.begin(), one.options.end());
    const Outcome outcome = render(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << one.message;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(one.message));
  }
  write("two.yaml",
        "apiVersion: gridquant/v1\nkind: Pipeline\nmetadata: {name: two}\nspec:\n  stages:\n"
        "    a: {uses: analyze, with: {model: /gridquant/m}, resources: {cores: 1, nodeSelector: {zone: a}}}\n"
        "    b: {uses: analyze, with: {model: /gridquant/m}, resources: {memory: 1Gi, nodeSelector: {zone: b}}}\n");
  EXPECT_THAT(render({"two.yaml"}).err, HasSubstr("one pod has one node"));
  write("batch.yaml", "apiVersion: gridquant/v1\nkind: Batch\nmetadata: {name: b}\nspec: {pipeline: one.yaml}\n");
  EXPECT_THAT(render({"batch.yaml"}).err, HasSubstr("is a batch"));
  EXPECT_THAT(render({"absent.yaml"}).err, HasSubstr("absent.yaml"));
}

TEST_F(RenderTest, TaskFilesAreThoseOfARun) {
  const Outcome tasks = gridquant({"render", "tasks", "small.yaml", "--workdir", ".gridquant", "--into", "tasks"});
  ASSERT_EQ(tasks.exit_code, 0) << tasks.err;
  EXPECT_THAT(tasks.out, HasSubstr("/tasks/001-analyze.json\n"));
  ASSERT_EQ(run().exit_code, 0);
  const char* stages[] = {"analyze", "calibrate", "plan", "quantize", "validate"};
  for (int i = 0; i < 5; ++i) {
    nlohmann::json ours = read_json("tasks/00" + std::to_string(i + 1) + "-" + stages[i] + ".json");
    nlohmann::json of_run;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root_ + "/.gridquant/runs")) {
      const std::string path = entry.path().string();
      if (path.find(stages[i]) == std::string::npos || !path.ends_with(".json")) continue;
      of_run = read_json(path.substr(root_.size() + 1));
    }
    ASSERT_TRUE(of_run.is_object()) << stages[i];
    ours.erase("run"), of_run.erase("run");
    EXPECT_EQ(ours, of_run);
  }
}

TEST_F(RenderTest, TasksOfAConditionAreRefused) {
  write_renderable("", ", if: \"${stages.b.state == 'succeeded'}\", needs: b");
  write("one.yaml", read("one.yaml") + "    b: {uses: analyze, with: {model: /gridquant/m}}\n");
  const Outcome outcome = gridquant({"render", "tasks", "one.yaml", "--into", "tasks"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("stage analyze has a condition (if:) that only a run can decide"));
}

TEST_F(RenderTest, BashCompletesCommandsOptionsChoicesAndFiles) {
  const std::string head =
      "source <(gridquant completion bash)\n"
      "complete -p gridquant\n"
      "of() { COMP_WORDS=(gridquant \"$@\"); COMP_CWORD=$#; _gridquant; printf '%s: %s\\n' \"$*\" \"${COMPREPLY[*]}\"; "
      "}\n";
  const Outcome outcome = bash(head +
                               "of valid\nof run --work\nof run --format j\nof get -o ''\nof render kub\nof run sm\n"
                               "of completion f\nof run --workdir x --thr\nof nothing --x\n");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out,
            "complete -F _gridquant gridquant\n"
            "valid: validate\nrun --work: --workdir\nrun --format j: json\nget -o : text wide json yaml\n"
            "render kub: kubernetes\nrun sm: \ncompletion f: fish\nrun --workdir x --thr: --threads\nnothing --x: \n");
  EXPECT_THAT(gridquant({"completion", "words", "--", "run", "sm"}).out, ":files\n");
}

TEST_F(RenderTest, FishCompletesToo) {
  if (bash("command -v fish").exit_code != 0) GTEST_SKIP() << "there is no fish";
  const Outcome outcome = bash(
      "fish -c 'gridquant completion fish | source; complete -C \"gridquant nodes dr\"; "
      "complete -C \"gridquant get -o y\"'");
  EXPECT_EQ(outcome.out, "drain\nyaml\n");
}

TEST(YamlText, TextsKeepTheirMeaning) {
  using nlohmann::ordered_json;
  EXPECT_EQ(to_yaml(ordered_json::parse(R"({"a":"yes","b":"1","c":"x y","d":"","e":null,"f":[],"g":{},"h":true})")),
            "a: \"yes\"\nb: \"1\"\nc: \"x y\"\nd: \"\"\ne: null\nf: []\ng: {}\nh: true\n");
  EXPECT_EQ(to_yaml(ordered_json::parse(R"([{"a":1,"b":[2,[3]]},"plain",{"t":"one\n\n  two\n"}])")),
            "- a: 1\n  b:\n    - 2\n    - - 3\n- plain\n- t: |\n    one\n\n      two\n");
  EXPECT_EQ(to_yaml({{"t", "tab\tin it\n"}, {"u", "\u2028\n"}, {"v", " first\n"}, {"w", "end\n\n"}}),
            "t: \"tab\\tin it\\n\"\nu: \"\\u2028\\n\"\nv: \" first\\n\"\nw: \"end\\n\\n\"\n");
  EXPECT_EQ(to_yaml({{"no", 1}, {"a: b", 2}}), "\"no\": 1\n\"a: b\": 2\n");
}

bool equal(const YAML::Node& a, const YAML::Node& b) {
  if (a.Type() != b.Type() || a.size() != b.size()) return false;
  if (a.IsScalar()) return a.Scalar() == b.Scalar();
  for (size_t i = 0; a.IsSequence() && i < a.size(); ++i) {
    if (!equal(a[i], b[i])) return false;
  }
  for (auto at = a.begin(); a.IsMap() && at != a.end(); ++at) {
    if (!equal(at->second, b[at->first.Scalar()])) return false;
  }
  return true;
}

// By another reader: JSON is YAML too.
TEST(YamlText, OthersReadWhatWasMeant) {
  for (const char* text :
       {R"({"run":"a-1","stages":[{"name":"x","attempts":[]},{"name":"y","attempts":[{"n":1}]}],"e":{}})",
        R"([[1,[2,[]]],{"k":{"l":{"m":[{"a":-1.5},{"b":null}]}}}])",
        R"({"message":"one: two # three\n\ttab\n","한국어":"값 \"q\" 'p'","n":"1e3","t":"~","d":"2026-11-26"})",
        R"({"":"","-":"- a","?":"? b","*":"*c","&":"&d","!":"!e","%":"%f","@":"@g","`":"`h","|":"|","y":"n"})",
        R"(["","null","true","0x1f",".5","a:b","a: b","#","---","...","[","{","é\u0000","\u2028"])"}) {
    const std::string yaml = to_yaml(nlohmann::ordered_json::parse(text));
    EXPECT_TRUE(equal(YAML::Load(text), YAML::Load(yaml))) << text << "\n" << yaml;
  }
}

}  // namespace
}  // namespace gridquant::cli
