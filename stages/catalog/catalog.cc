#include "stages/catalog/catalog.h"

namespace gridquant::stages {
namespace {

Field path_field(std::string name, bool required, std::string doc) {
  return {.name = std::move(name), .type = FieldType::kPath, .doc = std::move(doc), .required = required};
}

Field int_field(std::string name, std::string default_value, double minimum, double maximum, std::string doc) {
  return {.name = std::move(name),
          .type = FieldType::kInt,
          .doc = std::move(doc),
          .default_value = std::move(default_value),
          .minimum = minimum,
          .maximum = maximum};
}

Field bool_field(std::string name, std::string default_value, std::string doc) {
  return {.name = std::move(name),
          .type = FieldType::kBool,
          .doc = std::move(doc),
          .default_value = std::move(default_value)};
}

Field enum_field(std::string name, std::string default_value, std::vector<std::string> choices, std::string doc) {
  return {.name = std::move(name),
          .type = FieldType::kEnum,
          .doc = std::move(doc),
          .default_value = "\"" + default_value + "\"",
          .choices = std::move(choices)};
}

Field compute_field() {
  return enum_field("compute", "auto", {"auto", "fp32", "bf16"},
                    "Type of the matrix products; auto is bf16 where the CPU multiplies bf16, fp32 elsewhere.");
}

Field prefetch_field() {
  Field field = bool_field("prefetch", "true", "Read the next block while this one computes.");
  field.in_key = false;
  return field;
}

Field budget_field() {
  return {.name = "hiddenStatesBudget",
          .type = FieldType::kSize,
          .doc = "Memory for the activations of all sequences; buffers beyond it lie in a scratch file.",
          .default_value = "\"4Gi\"",
          .in_key = false};
}

Field generation_memory_field() {
  return {.name = "generationMemory",
          .type = FieldType::kSize,
          .doc = "Memory for weights, keys and values while text is generated; without it half of the machine's.",
          .in_key = false};
}

Field text_field(std::string name, std::string default_value, std::string doc) {
  return {.name = std::move(name), .doc = std::move(doc), .default_value = "\"" + default_value + "\""};
}

Field weight_field() {
  return {.name = "weight",
          .type = FieldType::kNumber,
          .doc = "Share of the samples, beside the weights of the others.",
          .default_value = "1",
          .minimum = 0.000001,
          .maximum = 1'000'000};
}

Field language_field() {
  return {.name = "language", .type = FieldType::kString, .doc = "Language tag, such as en or ko.", .required = true};
}

Field number_field(std::string name, std::string default_value, double minimum, double maximum, std::string doc) {
  Field field = int_field(std::move(name), std::move(default_value), minimum, maximum, std::move(doc));
  field.type = FieldType::kNumber;
  return field;
}

// Of calibrate: text that the model writes itself.
Field generate_field() {
  return {.name = "generate",
          .type = FieldType::kObjectList,
          .doc = "Sequences that the model under calibration writes itself, for models without data.",
          .default_value = "[]",
          .fields = {language_field(), weight_field(),
                     path_field("prompts", false, "UTF-8 file of starts, one a line; without it BOS alone."),
                     number_field("temperature", "1", 0, 100, "Of the softmax; 0 takes the most likely token."),
                     int_field("topK", "0", 0, 1'000'000, "Among so many of the most likely tokens; 0 among all."),
                     number_field("topP", "1", 0.001, 1, "Among the fewest tokens that are together so likely.")}};
}

// Of calibrate (`weighted`), which has generated text beside it, and of validate.
Field datasets_field(std::string doc, bool weighted) {
  Field list{.name = "datasets",
             .type = FieldType::kObjectList,
             .doc = std::move(doc),
             .required = !weighted,
             .default_value = weighted ? "[]" : "",
             .fields = {path_field("path", true, "UTF-8 file."), language_field()}};
  if (weighted) list.fields.push_back(weight_field());
  list.fields.push_back(enum_field("format", "auto", {"auto", "text", "jsonl", "csv", "tsv"},
                                   "What the file is; auto goes by its name and takes others for plain text."));
  list.fields.push_back(text_field("field", "",
                                   "Field of a JSON object, or column by name or number from 1; empty takes messages "
                                   "or text."));
  list.fields.push_back(bool_field("header", "true", "The first row of csv and tsv names the columns."));
  list.fields.push_back(
      enum_field("chatTemplate", "auto", {"auto", "none"},
                 "Conversations go through the model's chat template, or give their contents alone."));
  return list;
}

Field packing_field() {
  return enum_field("packing", "concatenate", {"concatenate", "documents"},
                    "Sequences are windows of the documents one after the other, or the begin of every document that "
                    "is long enough.");
}

StageInfo analyze() {
  return {
      .name = "analyze",
      .version = 2,
      .doc =
          "Reads the model's configuration and weights: architecture, parameters and bytes per tensor, weight "
          "statistics.",
      .fields = {path_field("model", true,
                            "Hugging Face model folder (config.json, tokenizer.json, safetensors), or a GGUF file."),
                 path_field("adapter", false, "PEFT folder of a LoRA adapter that is merged into the model.")}};
}

StageInfo calibrate() {
  return {
      .name = "calibrate",
      .version = 6,
      .doc = "Tokenizes the calibration texts and measures the inputs of every site of the unquantized model.",
      .inputs = {"analyze"},
      .fields = {datasets_field("Calibration texts, one or more per language.", true), generate_field(),
                 int_field("samples", "128", 1, 1'000'000, "Sequences in all, shared by the weights of the datasets."),
                 int_field("sequenceLength", "512", 8, 1'048'576, "Tokens of each sequence."),
                 int_field("seed", "0", 0, 2'147'483'647, "Decides which windows of the texts are taken."),
                 bool_field("shuffle", "true", "Take windows from all over the text; false takes the first ones."),
                 packing_field(),
                 enum_field("statistics", "diagonal", {"none", "diagonal", "hessian"},
                            "What is measured: diagonal of the Hessian, mean and maximum of |x|; hessian also stores "
                            "every site's Hessian, for quantize with 'parallelism'; none only tokenizes."),
                 prefetch_field(), budget_field(), generation_memory_field(), compute_field()},
      .one_of = {"datasets", "generate"}};
}

StageInfo plan() {
  return {
      .name = "plan",
      .doc = "Decides for every tensor what becomes of it, and forecasts the size of the result.",
      .inputs = {"analyze", "calibrate"},
      .fields = {
          enum_field("solver", "gptq", {"gptq", "rtn"}, "How codes are found."),
          {.name = "bits",
           .type = FieldType::kInt,
           .doc = "Bits of a code.",
           .default_value = "4",
           .choices = {"2", "3", "4", "8"}},
          bool_field("symmetric", "true", "Zero point fixed in the middle of the grid."),
          {.name = "groupSize",
           .type = FieldType::kInt,
           .doc = "Input columns that share a scale; -1 for the whole row.",
           .default_value = "128",
           .choices = {"32", "64", "128", "-1"}},
          enum_field("scaleSearch", "weighted", {"weighted", "absmax"},
                     "How scales are chosen: least error weighted with the Hessian's diagonal, or the range as it is."),
          {.name = "dampPercent",
           .type = FieldType::kNumber,
           .doc = "Damping as a share of the Hessian's mean diagonal.",
           .default_value = "0.05",
           .minimum = 0.0001,
           .maximum = 1.0},
          bool_field("actOrder", "true", "Round columns with large inputs first (groups stay static)."),
          {.name = "exclude",
           .type = FieldType::kStringList,
           .doc = "Regular expressions of tensors to leave as they are.",
           .default_value = "[]"}}};
}

StageInfo quantize() {
  return {.name = "quantize",
          .version = 5,
          .doc = "Quantizes block by block after the plan and writes the checkpoint.",
          .inputs = {"analyze", "calibrate", "plan"},
          .fields = {enum_field("output", "gptq", {"gptq"}, "Format of the checkpoint."), prefetch_field(),
                     budget_field(), compute_field()}};
}

// What `parallelism: blocks` makes of a quantize stage, beside the stage itself, which joins the parts.
StageInfo quantize_part() {
  return {.name = kPartStage,
          .version = 2,
          .doc = "Quantizes a range of blocks from what calibrate stored.",
          .inputs = {"analyze", "calibrate", "plan"},
          .fields = {enum_field("output", "gptq", {"gptq"}, "Format of the checkpoint."), prefetch_field(),
                     compute_field(), int_field("part", "1", 1, kMaxParts, "Which of the parts, from 1."),
                     int_field("parts", "1", 1, kMaxParts, "How many parts there are.")}};
}

StageInfo validate() {
  return {.name = "validate",
          .version = 5,
          .doc = "Walks the original and the quantized model side by side on text not used for calibration.",
          .inputs = {"analyze", "calibrate", "quantize"},
          .fields = {datasets_field("Evaluation texts, one or more per language.", false),
                     int_field("samples", "0", 0, 1'000'000, "Sequences per dataset; 0 takes the whole text."),
                     int_field("sequenceLength", "512", 8, 1'048'576, "Tokens of each sequence."), packing_field(),
                     prefetch_field(), budget_field(), compute_field()}};
}

}  // namespace

std::span<const StageInfo> all_stages() {
  static const std::vector<StageInfo> stages = {analyze(), calibrate(), plan(), quantize(), validate()};
  return stages;
}

const StageInfo* find_stage(std::string_view name) {
  static const StageInfo part = quantize_part();
  if (name == part.name) return &part;
  for (const StageInfo& stage : all_stages()) {
    if (stage.name == name) return &stage;
  }
  return nullptr;
}

std::string part_input(int number) {
  std::string digits = std::to_string(number);
  return std::string(kPartStage) + "." + std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

bool is_part_input(std::string_view input) {
  return input.starts_with(std::string(kPartStage) + ".");
}

}  // namespace gridquant::stages
