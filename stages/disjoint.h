// Is the text that we evaluate on really not the text that we calibrated with?
#pragma once

#include "engine/base/status.h"
#include "stages/token_store.h"

namespace gridquant::stages {

// FailedPrecondition if an evaluation file has the content of a calibration file, or more than one in fifty evaluation
// tokens stand in a run of 32 tokens that calibration has seen too.
Status check_disjoint(const TokenSet& calibration, const TokenSet& evaluation);

// Share of `evaluation`'s tokens that lie in such runs.
double overlap_share(const TokenSet& calibration, const TokenSet& evaluation);

}  // namespace gridquant::stages
