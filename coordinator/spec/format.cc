#include "coordinator/spec/format.h"

namespace gridquant::spec {
namespace {

constexpr double kDayMs = 86'400'000;

FormatField object(std::string name, std::string doc, std::vector<FormatField> fields) {
  return {.name = std::move(name), .shape = Shape::kObject, .doc = std::move(doc), .fields = std::move(fields)};
}

FormatField map_of(std::string name, std::string doc, KeyRule keys, FormatField value) {
  return {
      .name = std::move(name), .shape = Shape::kMap, .doc = std::move(doc), .fields = {std::move(value)}, .keys = keys};
}

FormatField required(FormatField field) {
  field.required = true;
  return field;
}

FormatField duration(std::string name, std::string doc, std::string default_value = "") {
  return {.name = std::move(name),
          .shape = Shape::kDuration,
          .doc = std::move(doc),
          .default_value = std::move(default_value),
          .minimum = 1,
          .maximum = 365 * kDayMs};
}

FormatField retry() {
  return object("retry", "What happens after a failed attempt.",
                {{.name = "maxAttempts",
                  .shape = Shape::kInt,
                  .doc = "Attempts in all; 1 never retries.",
                  .default_value = "3",
                  .minimum = 1,
                  .maximum = 100},
                 object("backoff", "Pause before the next attempt: initial, then times factor, at most max.",
                        {duration("initial", "First pause.", "\"5s\""),
                         {.name = "factor",
                          .shape = Shape::kNumber,
                          .doc = "Growth of the pause.",
                          .default_value = "2",
                          .minimum = 1,
                          .maximum = 100},
                         duration("max", "Longest pause.", "\"2m\"")}),
                 {.name = "on",
                  .shape = Shape::kChoiceList,
                  .doc = "Kinds of failure that are retried. Failures of input or parameters never are.",
                  .default_value = "[\"infrastructure\"]",
                  .choices = {"infrastructure"}}});
}

FormatField timeout() {
  return duration("timeout", "Longest time of one attempt; absent: no limit.");
}

FormatField resources() {
  return object(
      "resources", "What one attempt needs.",
      {{.name = "cores",
        .shape = Shape::kInt,
        .doc = "CPU cores per rank; absent: all.",
        .minimum = 1,
        .maximum = 4096},
       {.name = "memory",
        .shape = Shape::kSize,
        .doc = "Memory per rank, such as 64Gi.",
        .minimum = 1 << 20,
        .maximum = double(1LL << 50)},
       {.name = "gpusPerRank",
        .shape = Shape::kInt,
        .doc = "GPUs of each rank.",
        .default_value = "0",
        .minimum = 0,
        .maximum = kMaxGpusPerRank},
       map_of("nodeSelector", "Labels that a node must have.", KeyRule::kAny, {.name = "", .shape = Shape::kString}),
       object("gang", "Ranks that start together and fail together.",
              {{.name = "ranks",
                .shape = Shape::kInt,
                .doc = "Ranks wanted.",
                .default_value = "1",
                .minimum = 1,
                .maximum = 4096},
               {.name = "minRanks",
                .shape = Shape::kInt,
                .doc = "Ranks with which it may go on after losses; absent: all of them.",
                .minimum = 1,
                .maximum = 4096}})});
}

FormatField param() {
  return object("", "One parameter of the pipeline, given with -p name=value.",
                {{.name = "type",
                  .shape = Shape::kString,
                  .doc = "Type of the value.",
                  .required = true,
                  .choices = {"string", "int", "number", "bool", "path"}},
                 {.name = "description", .shape = Shape::kString, .doc = "For people."},
                 {.name = "required",
                  .shape = Shape::kBool,
                  .doc = "Must be given: it has no default.",
                  .default_value = "false"},
                 {.name = "default", .shape = Shape::kScalar, .doc = "Value when none is given."},
                 {.name = "enum", .shape = Shape::kScalarList, .doc = "The only values allowed."},
                 {.name = "minimum", .shape = Shape::kNumber, .doc = "Smallest value (int, number)."},
                 {.name = "maximum", .shape = Shape::kNumber, .doc = "Largest value (int, number)."}});
}

FormatField parallelism() {
  FormatField field = object("parallelism",
                             "Of quantize: independent stages <stage>-part-1, ... that each do a range of blocks, and "
                             "<stage> itself, which joins them; blocks alone means 4 of them.",
                             {{.name = "blocks",
                               .shape = Shape::kInt,
                               .doc = "How many parts. The result does not depend on it.",
                               .required = true,
                               .minimum = 1,
                               .maximum = stages::kMaxParts}});
  field.choices = {"blocks"};
  return field;
}

FormatField stage() {
  FormatField matrix_values{.name = "", .shape = Shape::kScalarList, .doc = "Values; the stage runs once for each."};
  FormatField matrix = map_of("matrix", "Runs the stage once for every combination of values, as <stage>-<value>.",
                              KeyRule::kIdentifier, std::move(matrix_values));
  matrix.refused = {"include", "exclude"};
  matrix.refused_hint = "write stages of their own for single combinations, or skip instances with 'if'";
  return object(
      "", "One stage of the pipeline.",
      {{.name = "uses", .shape = Shape::kString, .doc = "Kind of stage.", .required = true},
       {.name = "needs", .shape = Shape::kNeeds, .doc = "Stages that must be over before this one starts."},
       {.name = "with", .shape = Shape::kWith, .doc = "Parameters of the stage."},
       {.name = "if",
        .shape = Shape::kCondition,
        .doc = "Runs only if this holds, evaluated when all needs are over: ${stages.plan.state == 'succeeded'}."},
       std::move(matrix),
       parallelism(),
       retry(),
       timeout(),
       duration("deadline", "Longest time from when the stage could first start, over all attempts and pauses."),
       resources()});
}

FormatField metadata(const std::string& of) {
  FormatField labels = map_of("labels", "Free labels.", KeyRule::kAny, {.name = "", .shape = Shape::kString});
  return required(object("metadata", "What the " + of + " is called.",
                         {{.name = "name", .shape = Shape::kName, .doc = "Name of the " + of + ".", .required = true},
                          std::move(labels)}));
}

FormatField make_batch() {
  FormatField values{.name = "", .shape = Shape::kScalarList, .doc = "Values; one run for each."};
  return object(
      "", "One pipeline over many parameters.",
      {{.name = "apiVersion",
        .shape = Shape::kString,
        .doc = "Version of this format.",
        .required = true,
        .choices = {kApiVersion}},
       {.name = "kind", .shape = Shape::kString, .doc = "Kind of document.", .required = true, .choices = {kBatchKind}},
       metadata("batch"),
       required(object(
           "spec", "What the batch runs.",
           {{.name = "pipeline", .shape = Shape::kPath, .doc = "The pipeline file.", .required = true},
            map_of("params", "Parameters of every run.", KeyRule::kIdentifier, {.name = "", .shape = Shape::kScalar}),
            map_of("matrix", "Parameters of which every combination is a run.", KeyRule::kIdentifier,
                   std::move(values)),
            {.name = "maxParallel",
             .shape = Shape::kInt,
             .doc = "Runs at a time; absent: no limit.",
             .minimum = 1,
             .maximum = 256},
            {.name = "failFast",
             .shape = Shape::kBool,
             .doc = "The first failure cancels the other runs.",
             .default_value = "false"}}))});
}

FormatField make_pipeline() {
  FormatField params = map_of("params", "Parameters, used as ${params.name}.", KeyRule::kIdentifier, param());
  FormatField stages = map_of("stages", "The stages, by name.", KeyRule::kDnsLabel, stage());
  return object(
      "", "A gridquant pipeline.",
      {{.name = "apiVersion",
        .shape = Shape::kString,
        .doc = "Version of this format.",
        .required = true,
        .choices = {kApiVersion}},
       {.name = "kind", .shape = Shape::kString, .doc = "Kind of document.", .required = true, .choices = {kKind}},
       metadata("pipeline"),
       required(object("spec", "What the pipeline does.",
                       {std::move(params),
                        object("defaults", "For stages that do not say otherwise.", {retry(), timeout()}),
                        {.name = "queue",
                         .shape = Shape::kName,
                         .doc = "Whose quota the run counts against, on a cluster.",
                         .default_value = "\"default\""},
                        {.name = "priority",
                         .shape = Shape::kInt,
                         .doc = "Greater ones stand ahead, on a cluster, until others have waited longer.",
                         .default_value = "0",
                         .minimum = -100,
                         .maximum = 100},
                        duration("deadline", "Longest time of the whole run; absent: no limit."),
                        required(std::move(stages))}))});
}

Shape shape_of(stages::FieldType type) {
  switch (type) {
    case stages::FieldType::kString:
    case stages::FieldType::kEnum:
      return Shape::kString;
    case stages::FieldType::kInt:
      return Shape::kInt;
    case stages::FieldType::kNumber:
      return Shape::kNumber;
    case stages::FieldType::kBool:
      return Shape::kBool;
    case stages::FieldType::kPath:
      return Shape::kPath;
    case stages::FieldType::kSize:
      return Shape::kSize;
    case stages::FieldType::kStringList:
      return Shape::kStringList;
    case stages::FieldType::kObjectList:
      return Shape::kObjectList;
  }
  return Shape::kString;
}

FormatField from_catalog(const stages::Field& field) {
  FormatField result{.name = field.name,
                     .shape = shape_of(field.type),
                     .doc = field.doc,
                     .required = field.required,
                     .default_value = field.default_value,
                     .choices = field.choices,
                     .minimum = field.minimum,
                     .maximum = field.maximum};
  for (const stages::Field& inner : field.fields) result.fields.push_back(from_catalog(inner));
  return result;
}

}  // namespace

const FormatField& pipeline_format() {
  static const FormatField format = make_pipeline();
  return format;
}

const FormatField& batch_format() {
  static const FormatField format = make_batch();
  return format;
}

const FormatField& stage_format() {
  static const FormatField& format = find_field(*find_field(pipeline_format(), "spec"), "stages")->fields[0];
  return format;
}

const FormatField* find_field(const FormatField& object, std::string_view name) {
  for (const FormatField& field : object.fields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

FormatField with_format(const stages::StageInfo& stage) {
  FormatField result{.name = "with", .shape = Shape::kObject, .doc = stage.doc, .one_of = stage.one_of};
  for (const stages::Field& field : stage.fields) result.fields.push_back(from_catalog(field));
  return result;
}

}  // namespace gridquant::spec
