#include "engine/eval/report_assets.h"

namespace gridquant::eval {

const std::string_view kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1b2330; --soft: #5c6675; --line: #dfe3e9; --accent: #2459c4;
  --warn-back: #fff4dc; --warn-line: #d99a1c;
  --series: #2459c4, #d2562b, #1d8a5f, #8d4fc0, #b8860b, #0d8aa0, #c23b72, #6b7280;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1b212a; --text: #e8ebf0; --soft: #9aa5b4; --line: #303946; --accent: #7aa5ff;
    --warn-back: #33290f; --warn-line: #c08a1e;
    --series: #7aa5ff, #ff8f66, #4fc796, #c08cf0, #e0b13c, #45c3d9, #f27aa8, #a3abb8;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);

  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK KR", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 12px; }
p { margin: 0 0 10px; }
.soft { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
.answer { border-left: 4px solid var(--accent); background: var(--card); padding: 14px 18px; margin: 18px 0;
  border-radius: 0 8px 8px 0; }
.answer .question { color: var(--soft); font-size: 13px; margin: 0 0 4px; }
.answer .sentence { font-size: 17px; margin: 0; }
.warning { border-left: 4px solid var(--warn-line); background: var(--warn-back); padding: 8px 14px; margin: 8px 0;
  border-radius: 0 6px 6px 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 18px 0; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: 12px 16px; }
.tile .what { color: var(--soft); font-size: 13px; }
.tile .value { font-size: 21px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.card { padding: 18px; margin: 16px 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 20px;
  margin: 14px 0; }
.plot { min-width: 0; }
.plot.wide { grid-column: 1 / -1; }
.plot .what { font-size: 13px; color: var(--soft); margin: 0 0 6px; }
.plot .canvas { position: relative; height: 260px; }
.plot .canvas.low { height: 150px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: none; }
table.texts th, table.texts td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
table.texts td:first-child { white-space: nowrap; }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--accent); }
@media print { body { background: #fff; } .card, .tile { break-inside: avoid; } }
)css";

const std::string_view kReportScript = R"js(
(function () {
  "use strict";
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const drawn = [];
  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  function axis(text, title) {
    return {grid: {color: style("--line")}, ticks: {color: style("--soft"), maxRotation: 0, autoSkip: true},
            title: {display: !!title, text: title, color: style("--soft")}, beginAtZero: true};
  }
  function dataset(set, index, chart) {
    const colors = style("--series").split(",").map(c => c.trim());
    const color = colors[index % colors.length];
    const bar = chart.type === "bar";
    return {label: set.label, data: set.data, borderColor: color, backgroundColor: bar ? color : color + "33",
            borderWidth: bar ? 0 : 2, pointRadius: set.data.length > 40 ? 0 : 2.5, pointBackgroundColor: color,
            tension: 0, spanGaps: true, maxBarThickness: 34};
  }
  function draw(chart) {
    const values = axis(chart.unit, chart.unit), names = axis("", chart.axis);
    names.grid = {display: false};
    const scales = chart.horizontal ? {x: values, y: names} : {x: names, y: values};
    return new Chart(document.getElementById(chart.id), {
      type: chart.type,
      data: {labels: chart.labels, datasets: chart.datasets.map((set, i) => dataset(set, i, chart))},
      options: {
        responsive: true, maintainAspectRatio: false, animation: false, scales: scales,
        indexAxis: chart.horizontal ? "y" : "x", interaction: {mode: "index", intersect: false,
        axis: chart.horizontal ? "y" : "x"},
        plugins: {legend: {display: chart.datasets.length > 1, position: "bottom",
                           labels: {color: style("--text"), boxWidth: 14, boxHeight: 3}}}
      }
    });
  }
  function drawAll() {
    drawn.splice(0).forEach(chart => chart.destroy());
    charts.forEach(chart => drawn.push(draw(chart)));
  }
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
)js";

}  // namespace gridquant::eval
