// Calibration text that the model under calibration writes itself, for models without data: sampling token by token.
//
// All sequences go on in lock-step, so that a weight is read once per step for all of them; each keeps keys and values
// of the tokens before (ops/attention_step.h). Weights stay in memory if they fit into what the request allows;
// otherwise they are read again for every token, which a warning says.
//
// A sequence begins with a start: a line of the prompts in turn, as the tokenizer writes a document (BOS), or, without
// prompts, BOS alone (EOS for tokenizers that have none). Where the model ends its document (EOS), EOS stays and the
// next start follows, as when documents are packed.
//
// Where rotary frequencies depend on the length of the sequence (dynamic scaling, LongRoPE), they are from the first
// token on those of a whole sequence, as in every later pass over it. transformers' generate begins with those of a
// short text, and changes them on the way.
//
// The same seed gives the same tokens for any number of threads: sequences go through products in groups that the data
// fix, and each token has a random number of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/dataset.h"
#include "stages/context.h"
#include "stages/model_source.h"
#include "stages/sampling.h"
#include "stages/token_store.h"

namespace gridquant::stages {

struct GenerateSpec {
  std::string language;
  int64_t samples = 0;  // sequences
  std::string prompts;  // file of starts, one a line; "": none
  Sampling sampling;
};

struct GenerateRequest {
  std::vector<GenerateSpec> specs;
  int64_t length = 0;  // tokens of each sequence
  uint64_t seed = 0;
  ops::Compute compute = ops::Compute::kF32;
  uint64_t memory = 0;  // bytes for weights, keys and values; 0: half of the machine's
};

// FailedPrecondition: no token to start from, a start that fills a sequence, logits that are not finite.
// InvalidArgument ("FILE:LINE"): prompts that are not UTF-8.
StatusOr<std::vector<MadeSequences>> generate(StageContext& context, const ModelSource& source,
                                              const GenerateRequest& request);

}  // namespace gridquant::stages
