// Every diagnostic code of the pipeline file, with its meaning in one line and what to do about it. One table for the
// validator, the documentation and `gridquant explain GQ0103`. A code's number never changes its meaning.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace gridquant::spec {

enum class Code : int {
  // The file.
  kUnreadable = 1,
  kNotUtf8 = 2,
  kSyntax = 3,
  kTab = 4,
  kSeveralDocuments = 5,
  kEmptyFile = 6,
  kTooLarge = 7,
  kUnsupportedYaml = 8,
  kControlCharacter = 9,
  // The shape.
  kDuplicateKey = 101,
  kMissingKey = 102,
  kUnknownKey = 103,
  kWrongType = 104,
  kBadChoice = 105,
  kOutOfRange = 106,
  kBadName = 107,
  kBadQuantity = 108,
  kUnknownFormat = 109,
  kEmpty = 110,
  kListedTwice = 111,
  // The graph of stages.
  kUnknownNeed = 201,
  kCycle = 202,
  kUnknownStageType = 203,
  kMissingInput = 204,
  kAmbiguousInput = 205,
  kMatrixTooLarge = 206,
  kMatrixNames = 207,
  kMatrixMismatch = 208,
  kImpossibleResources = 209,
  kNotOnThisMachine = 210,
  kParallelism = 211,
  // Expressions.
  kExpressionSyntax = 301,
  kUndefinedName = 302,
  kNotAvailableHere = 303,
  kExpressionType = 304,
  // Parameters.
  kUndeclaredParam = 401,
  kParamRequired = 402,
  kBadDeclaration = 403,
  kBadParamValue = 404,
};

struct CodeInfo {
  Code code;
  std::string_view meaning;
  std::string_view remedy;
};

std::span<const CodeInfo> all_codes();             // by number
std::string code_name(Code code);                  // "GQ0103"
const CodeInfo* find_code(std::string_view name);  // "GQ0103" or "gq0103"; null if unknown

}  // namespace gridquant::spec
