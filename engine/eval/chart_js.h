// Debian's chart.min.js (package libjs-chart.js), put into the program when it is built: the page needs no network and
// the tree no copy. The definition is generated into the build folder from chart_js.cc.in.
#pragma once

#include <string_view>

namespace gridquant::eval {

std::string_view chart_js();

}  // namespace gridquant::eval
