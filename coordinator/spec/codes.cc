#include "coordinator/spec/codes.h"

#include <array>

namespace gridquant::spec {
namespace {

constexpr auto kCodes = std::to_array<CodeInfo>({
    {Code::kUnreadable, "The file cannot be read.", "Check the path and its permissions."},
    {Code::kNotUtf8, "The file is not UTF-8 text.", "Save it as UTF-8; the position names the first bad byte."},
    {Code::kSyntax, "The text is not YAML.", "Look at the position and just before it: indentation, quotes, brackets."},
    {Code::kTab, "A tab is used as indentation, which YAML forbids.", "Indent with spaces."},
    {Code::kSeveralDocuments, "The file holds more than one YAML document.", "Put one pipeline into each file."},
    {Code::kEmptyFile, "The file holds no document.", "A pipeline starts with 'apiVersion: gridquant/v1'."},
    {Code::kTooLarge, "The file exceeds a limit: bytes, nesting, or nodes after aliases are followed.",
     "Split the pipeline, or nest and alias less."},
    {Code::kUnsupportedYaml, "A YAML feature that pipeline files do not use: tags, keys that are lists or maps.",
     "Write plain maps, lists and scalars."},
    {Code::kControlCharacter, "The text contains a control character.", "Remove it; a NUL often means a damaged file."},

    {Code::kDuplicateKey, "A map has the same key twice.", "Keep one of the two; other tools silently take either."},
    {Code::kMissingKey, "A required key is missing.", "Add it."},
    {Code::kUnknownKey, "A key that the format does not have.", "Correct the spelling or remove it."},
    {Code::kWrongType, "A value has the wrong type.", "Write a value of the named type; quotes make text of a number."},
    {Code::kBadChoice, "A value is not one of those allowed.", "Take one from the list in the message."},
    {Code::kOutOfRange, "A number is too small or too large.", "Stay within the range in the message."},
    {Code::kBadName, "A name breaks the rules for names.",
     "Stages and pipelines: 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit."},
    {Code::kBadQuantity, "A duration or size cannot be read.",
     "Durations: 500ms, 30s, 10m, 1h30m. Sizes: 512Mi, 64Gi."},
    {Code::kUnknownFormat, "apiVersion or kind is one that this version does not know.",
     "Write 'apiVersion: gridquant/v1' and 'kind: Pipeline'."},
    {Code::kEmpty, "A list or map that must not be empty is empty.", "Add an element or remove the key."},
    {Code::kListedTwice, "A list names the same thing twice.", "Remove one of the two."},

    {Code::kUnknownNeed, "'needs' names a stage that the file does not have.", "Correct the name or add the stage."},
    {Code::kCycle, "Stages need each other in a circle, or one needs itself.", "Remove one of the needs printed."},
    {Code::kUnknownStageType, "'uses' names no known kind of stage.", "Take one from the list in the message."},
    {Code::kMissingInput, "A stage reads the result of another kind of stage that is not among its needs.",
     "Add such a stage to 'needs', directly or through another stage."},
    {Code::kAmbiguousInput, "A stage could read the result of several stages that are equally near.",
     "Name one instance in 'needs', or give the stage a matrix with the same keys."},
    {Code::kMatrixTooLarge, "A matrix or the whole file expands to too many stages.", "Split it over several runs."},
    {Code::kMatrixNames, "The values of a matrix do not give usable, different stage names.",
     "Change the values so that their letters and digits differ."},
    {Code::kMatrixMismatch, "No instance of a needed matrix stage has the values of this stage's matrix.",
     "Use the same values in both matrices, or name one instance in 'needs'."},
    {Code::kImpossibleResources, "The resources asked for contradict each other.", "Change one of the two values."},
    {Code::kNotOnThisMachine, "This build runs one rank on the CPU; the stage asks for more.",
     "Remove 'gpusPerRank' and 'nodeSelector', or submit the pipeline to a cluster that has them."},
    {Code::kParallelism, "'parallelism' asks for what the stage, or what it reads, cannot give.",
     "Only quantize runs in parts; with 'solver: gptq' its calibrate stage needs 'statistics: hessian'."},

    {Code::kExpressionSyntax, "An expression cannot be read.",
     "Literals, params.X, matrix.X, stages.NAME.state, == != < <= > >= && || ! and parentheses."},
    {Code::kUndefinedName, "An expression refers to a name that does not exist.", "Correct the name or declare it."},
    {Code::kNotAvailableHere, "An expression refers to something that is not known at this place.",
     "stages.* is known only in 'if', and only for stages among the needs."},
    {Code::kExpressionType, "An expression has the wrong type for its place.", "'if' and && || ! take booleans."},

    {Code::kUndeclaredParam, "-p gives a parameter that the file does not declare.", "Correct the name or declare it."},
    {Code::kParamRequired, "A required parameter has no value.", "Give it with -p name=value."},
    {Code::kBadDeclaration, "The declaration of a parameter contradicts itself.", "See the message."},
    {Code::kBadParamValue, "The value given with -p does not fit the parameter's declaration.", "See the message."},
});

}  // namespace

std::span<const CodeInfo> all_codes() {
  return kCodes;
}

std::string code_name(Code code) {
  std::string digits = std::to_string(static_cast<int>(code));
  return "GQ" + std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits;
}

const CodeInfo* find_code(std::string_view name) {
  if (name.size() != 6 || (name[0] | 0x20) != 'g' || (name[1] | 0x20) != 'q') return nullptr;
  for (const CodeInfo& info : kCodes) {
    if (code_name(info.code).substr(2) == name.substr(2)) return &info;
  }
  return nullptr;
}

}  // namespace gridquant::spec
