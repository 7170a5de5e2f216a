// The parts of a site: what statistics, Hessians and solves belong to. A dense site has one part, which sees every row
// of the site's input; a routed site has one per expert, which sees the rows routed to it.
#pragma once

#include <string>
#include <vector>

#include "engine/model/architecture.h"

namespace gridquant::model {

struct SitePart {
  std::string name;                  // "mlp_input"; of a routed site "mlp_input.3"
  int64_t expert = -1;               // -1: the whole of a dense site
  std::vector<std::string> weights;  // tensor names
};

// In the order of experts.
std::vector<SitePart> parts_of(const SiteSpec& site);

// How many rows of one sequence's input of `site` belong to `part`.
int64_t row_count(const SiteSpec& site, const SitePart& part, const SequenceView& sequence);

// Copies those rows, in order of tokens, to the first rows of `to`. `x` is one sequence's input of the site.
void gather_rows(const SiteSpec& site, const SitePart& part, const SequenceView& sequence, const ops::Operand& x,
                 const ops::Operand& to);

}  // namespace gridquant::model
