// report.json -> report.html: one self-contained page (Chart.js inlined), and the summary for a terminal.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/base/status.h"

namespace gridquant::eval {

// The shape of report.json is written down in engine/eval/README.md. Missing sections are left out of the page.
// `chart_js` is the content of Debian's chart.min.js.
StatusOr<std::string> render_html(const nlohmann::json& report, const std::string& chart_js);
std::string render_summary(const nlohmann::json& report, bool color);

}  // namespace gridquant::eval
