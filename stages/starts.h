// What generated sequences begin with.
#pragma once

#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/text/dataset.h"

namespace gridquant::stages {

// The token ids of each line of the file `prompts` that is not empty, as the tokenizer writes a document; without a
// file one start: what the tokenizer adds before a text, or BOS, or EOS. FailedPrecondition if there is none, or one
// has `length` tokens or more; InvalidArgument for a line that is not UTF-8.
StatusOr<std::vector<std::vector<int32_t>>> read_starts(base::Env& env, const text::TextModel& model,
                                                        const std::string& prompts, int64_t length);

}  // namespace gridquant::stages
