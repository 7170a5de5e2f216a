// A GGUF model as a source: names, row order, shifted norms, the texts made from keys, and models that do not hang
// together. That the numbers are transformers' is shown in tests/interop/gguf_logits.py.
#include "engine/formats/gguf/gguf.h"

#include <nlohmann/json.hpp>

#include "engine/formats/gguf/config.h"
#include "engine/formats/gguf/names.h"
#include "engine/formats/gguf/tokenizer.h"
#include "tests/unit/formats/gguf_testing.h"

namespace gridquant::formats {
namespace {

using nlohmann::json;

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::string texts(const std::string& key, const std::vector<std::string>& values) {
  std::string bytes = gguf_string(key) + le(9, 4) + le(8, 4) + le(values.size(), 8);
  for (const std::string& value : values) bytes += gguf_string(value);
  return bytes;
}

std::string kinds(const std::vector<int>& values) {
  std::string bytes = gguf_string("tokenizer.ggml.token_type") + le(9, 4) + le(5, 4) + le(values.size(), 8);
  for (const int value : values) bytes += le(static_cast<uint32_t>(value), 4);
  return bytes;
}

// Two heads of 4, hidden 8, vocabulary 4.
GgufParts tiny(const std::string& a = "llama") {
  GgufParts parts;
  parts.keys = {key_text("general.architecture", a),
                key_u32(a + ".embedding_length", 8),
                key_u32(a + ".block_count", 1),
                key_u32(a + ".feed_forward_length", 16),
                key_u32(a + ".attention.head_count", 2),
                key_u32(a + ".context_length", 64),
                key_f32(a + ".attention.layer_norm_rms_epsilon", 1e-5f),
                key_f32(a + ".rope.freq_base", 1e5f),
                key_u32(a + ".attention.sliding_window", 16)};
  std::vector<float> rows;
  for (int i = 0; i < 64; ++i) rows.push_back(static_cast<float>(i / 8));  // row r holds r
  parts.infos = {{"token_embd.weight", {8, 4}, 0, 0},
                 {"blk.0.attn_q.weight", {8, 8}, 0, 128},
                 {"blk.0.attn_norm.weight", {8}, 0, 384}};
  parts.data = floats(std::vector<float>(32, 0.5f)) + floats(rows) + floats(std::vector<float>(8, 1.25f));
  return parts;
}

class GgufSourceTest : public ::testing::Test {
 protected:
  StatusOr<Source> open(const GgufParts& parts, const std::string& path = "m/model.gguf") {
    put(*env_, path, gguf_bytes(parts));
    return open_source(*env_, path);
  }
  std::unique_ptr<base::Env> env_ = base::make_memory_env();
};

TEST_F(GgufSourceTest, LlamaRowsAreInOrderAgain) {
  const auto source = open(tiny());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(source->tensors->names(),
              ::testing::ElementsAre("model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
                                     "model.layers.0.self_attn.q_proj.weight"));
  const auto q = source->tensors->read_f32("model.layers.0.self_attn.q_proj.weight", {8, 8});
  ASSERT_TRUE(q.ok()) << q.status();
  std::vector<float> first;
  for (int r = 0; r < 8; ++r) first.push_back(q->as<float>()[8 * r]);
  EXPECT_THAT(first, ::testing::ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  EXPECT_EQ(source->tensors->read("model.layers.0.input_layernorm.weight")->as<float>()[0], 1.25f);
  EXPECT_THAT(source->files, ::testing::ElementsAre("m/model.gguf"));
  expect_message(source->tensors->read("x").status(), {"m/model.gguf", "no tensor \"x\""});
  expect_message(source->tensors->read_f32("model.layers.0.input_layernorm.weight", {4}).status(), {"[8]", "[4]"});
}

TEST_F(GgufSourceTest, GemmaNormsAreShiftedBack) {
  const auto source = open(tiny("gemma3"));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->tensors->read("model.layers.0.input_layernorm.weight")->as<float>()[0], 0.25f);
  EXPECT_EQ(source->tensors->read_f32("model.layers.0.self_attn.q_proj.weight", {8, 8})->as<float>()[8], 1.0f);
  EXPECT_EQ(transformers_name("gemma3", "blk.12.ffn_norm.weight"), "model.layers.12.pre_feedforward_layernorm.weight");
  EXPECT_EQ(transformers_name("llama", "blk.12.ffn_norm.weight"), "model.layers.12.post_attention_layernorm.weight");
  EXPECT_EQ(transformers_name("llama", "blk.x.ffn_norm.weight"), "");
  EXPECT_EQ(transformers_name("llama", "blk."), "");
}

TEST_F(GgufSourceTest, ConfigurationIsTransformers) {
  const auto source = open(tiny());
  ASSERT_TRUE(source.ok()) << source.status();
  const auto config = json::parse(*source->texts->read("config.json"));
  EXPECT_EQ(config["architectures"], json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(config["vocab_size"], 4);
  EXPECT_EQ(config["head_dim"], 4);
  EXPECT_EQ(config["num_key_value_heads"], 2);
  EXPECT_EQ(config["rms_norm_eps"].dump(), "1e-05");
  EXPECT_EQ(config["rope_theta"], 100000.0);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["torch_dtype"], "float32");
  EXPECT_TRUE(absl::IsNotFound(source->texts->read("vocab.json").status()));
  EXPECT_THAT(*source->texts->names(), ::testing::ElementsAre("config.json", "generation_config.json"));
}

TEST_F(GgufSourceTest, FoldersAndParts) {
  ASSERT_TRUE(open(tiny()).ok());
  EXPECT_TRUE(open_source(*env_, "m").ok());
  put(*env_, "m/other.gguf", "x");
  expect_message(open_source(*env_, "m").status(), {"several GGUF", "model.gguf", "other.gguf"});
  GgufParts first = tiny();
  first.keys.push_back(key_u32("split.count", 2));
  GgufParts second;
  second.keys = {key_u32("split.count", 2), key_u32("split.no", 1)};
  second.infos = {{"output_norm.weight", {8}, 0, 0}};
  second.data = std::string(32, '\0');
  put(*env_, "s/m-00001-of-00002.gguf", gguf_bytes(first));
  expect_message(open_source(*env_, "s").status(), {"s/m-00002-of-00002.gguf", "is missing"});
  put(*env_, "s/m-00002-of-00002.gguf", gguf_bytes(second));
  const auto source = open_source(*env_, "s");
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_TRUE(source->tensors->contains("model.norm.weight"));
  EXPECT_EQ(source->files.size(), 2u);
  second.keys[1] = key_u32("split.no", 0);
  put(*env_, "s/m-00002-of-00002.gguf", gguf_bytes(second));
  expect_message(open_source(*env_, "s").status(), {"part 1 of 2", "name says part 2 of 2"});
  second.keys[1] = key_u32("split.no", 1);
  second.infos[0].name = "token_embd.weight";
  put(*env_, "s/m-00002-of-00002.gguf", gguf_bytes(second));
  expect_message(open_source(*env_, "s").status(), {"token_embd.weight", "earlier part"});
  expect_message(open(tiny(), "m/lonely.gguf.bin").status(), {".gguf file"});
}

TEST_F(GgufSourceTest, ModelsThatDoNotHangTogether) {
  const auto with = [](auto change) {
    GgufParts parts = tiny();
    change(parts);
    return parts;
  };
  expect_message(open(with([](auto& p) { p.keys[0] = key_text("general.architecture", "bert"); })).status(),
                 {"\"bert\"", "llama, qwen2, qwen3, gemma3"});
  expect_message(open(with([](auto& p) { p.keys.erase(p.keys.begin() + 2); })).status(),
                 {"llama.block_count", "missing"});
  expect_message(open(with([](auto& p) { p.keys[2] = key_text("llama.block_count", "1"); })).status(),
                 {"whole number"});
  expect_message(open(with([](auto& p) { p.infos[0].name = "token_embd"; })).status(),
                 {"no tensor \"token_embd.weight\""});
  expect_message(open(with([](auto& p) { p.infos[2].name = "blk.0.ssm_a"; })).status(), {"blk.0.ssm_a", "no place"});
  expect_message(open(with([](auto& p) { p.keys[4] = key_u32("llama.attention.head_count", 3); })).status(),
                 {"3 heads"});
  expect_message(open(with([](auto& p) { p.keys.push_back(key_u32("llama.expert_count", 8)); })).status(), {"mixture"});
  expect_message(open(with([](auto& p) { p.keys.push_back(key_text("llama.rope.scaling.type", "su")); })).status(),
                 {"\"su\""});
  const auto damaged = open(with([](auto& p) { p.data[3] = p.data[2] = '\xff'; }));
  ASSERT_TRUE(damaged.ok());
  expect_message(damaged->tensors->read("model.embed_tokens.weight").status(), {"element 0", "not a finite"});
  expect_message(open_source(*env_, "absent").status(), {"absent", "no such"});
}

TEST_F(GgufSourceTest, TokenizersThatAreNotRead) {
  const auto error = [&](std::vector<std::string> keys) {
    GgufParts parts = tiny();
    for (std::string& key : keys) parts.keys.push_back(std::move(key));
    const auto source = open(parts);
    return source.ok() ? source->texts->read("tokenizer.json").status() : source.status();
  };
  const std::string bpe = key_text("tokenizer.ggml.model", "gpt2");
  const std::string vocabulary = texts("tokenizer.ggml.tokens", {"a", "b", "ab"});
  expect_message(error({key_text("tokenizer.ggml.model", "bert")}), {"\"bert\"", "gpt2"});
  expect_message(error({bpe}), {"no vocabulary"});
  expect_message(error({bpe, vocabulary}), {"\"\" (tokenizer.ggml.pre)", "smollm", "qwen2"});
  expect_message(error({bpe, vocabulary, key_text("tokenizer.ggml.pre", "falcon")}), {"\"falcon\""});
  const std::string pre = key_text("tokenizer.ggml.pre", "qwen2");
  expect_message(error({bpe, vocabulary, pre}), {"no merges"});
  expect_message(error({bpe, vocabulary, pre, texts("tokenizer.ggml.merges", {"ab"})}), {"merge 0", "two parts"});
  expect_message(error({bpe, vocabulary, pre, kinds({1, 1})}), {"3 tokens but 2 kinds"});
  expect_message(error({bpe, texts("tokenizer.ggml.tokens", {"a", "a"}), pre}), {"token 1 \"a\" is there twice"});
  expect_message(error({bpe, texts("tokenizer.ggml.tokens", {"a", "\xff"}), pre}), {"token 1 is not UTF-8"});
  expect_message(error({key_text("tokenizer.ggml.model", "llama"), vocabulary}), {"-1, is not in the vocabulary"});
  expect_message(
      error({key_text("tokenizer.ggml.model", "llama"), vocabulary, key_u32("tokenizer.ggml.bos_token_id", 1)}),
      {"tokenizer.ggml.scores"});
}

TEST(GgufMerges, BestFirstAndLongerLeftParts) {
  const auto merges = gguf_merges({"a", "b", "ab", "aba", "ba", "é", "éa"}, {0, 0, 1, 3, 2, 0, 1});
  using Pair = std::pair<std::string, std::string>;
  EXPECT_THAT(merges,
              ::testing::ElementsAre(Pair("a", "b"), Pair("é", "a"), Pair("b", "a"), Pair("ab", "a"), Pair("a", "ba")));
}

TEST(GgufConfig, Llama3ScalingIsFoundAgain) {
  std::map<std::string, GgufValue> values;
  for (const auto& [key, value] :
       {std::pair("embedding_length", 2048), std::pair("block_count", 2), std::pair("feed_forward_length", 64),
        std::pair("attention.head_count", 32), std::pair("context_length", 131072)}) {
    values[std::string("llama.") + key] = int64_t{value};
  }
  values["general.architecture"] = std::string("llama");
  values["llama.attention.layer_norm_rms_epsilon"] = 1e-5;
  values["llama.rope.freq_base"] = 500000.0;
  GgufFacts facts;
  facts.vocab_size = 8;
  facts.dtype = "bfloat16";
  // Llama 3.2 1B: factor 32, 1, 4, 8192 (transformers, _compute_llama3_parameters).
  for (int i = 0; i < 32; ++i) {
    const double wavelength = 2 * M_PI * std::pow(500000.0, 2.0 * i / 64);
    const double smooth = (8192 / wavelength - 1) / 3;
    const double between = 1 / ((1 - smooth) / 32 + smooth);
    facts.rope_freqs.push_back(wavelength < 2048 ? 1.0 : wavelength > 8192 ? 32.0 : static_cast<float>(between));
  }
  const auto text = gguf_config_json(values, facts, "m.gguf");
  ASSERT_TRUE(text.ok()) << text.status();
  const json scaling = json::parse(*text)["rope_scaling"];
  EXPECT_EQ(scaling["rope_type"], "llama3");
  EXPECT_EQ(scaling["factor"], 32.0);
  EXPECT_EQ(scaling["original_max_position_embeddings"], 8192);
  facts.rope_freqs[17] *= 1.01;
  expect_message(gguf_config_json(values, facts, "m.gguf").status(), {"rope_freqs.weight"});
  facts.rope_freqs.pop_back();
  expect_message(gguf_config_json(values, facts, "m.gguf").status(), {"31 elements for heads of 64"});
}

}  // namespace
}  // namespace gridquant::formats
