// The fixed parts of the page: its style, and the script that draws what the page's JSON says with Chart.js.
#pragma once

#include <string_view>

namespace gridquant::eval {

extern const std::string_view kReportStyle;
// Reads the array of charts in the element "charts": {id, type: line|bar, horizontal, labels, unit, datasets: [{label,
// data}]}, draws each into the canvas of that id, and draws again when the reader changes between light and dark.
extern const std::string_view kReportScript;

}  // namespace gridquant::eval
