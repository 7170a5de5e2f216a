#include "engine/eval/report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/eval/report_assets.h"
#include "engine/eval/report_charts.h"
#include "engine/eval/report_facts.h"

namespace gridquant::eval {

using nlohmann::json;

namespace {

using Row = std::vector<std::string>;

std::string escape(std::string_view raw) {
  std::string out;
  for (char c : raw) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// Builds the page. Everything that comes from the report goes through element() or table(), which escape it.
class Page {
 public:
  void raw(std::string_view html) { out_.append(html); }
  void element(const char* tag, const char* css_class, std::string_view content) {
    absl::StrAppend(&out_, "<", tag);
    if (*css_class != '\0') absl::StrAppend(&out_, " class=\"", css_class, "\"");
    absl::StrAppend(&out_, ">", escape(content), "</", tag, ">\n");
  }
  void table(const Row& head, const std::vector<Row>& rows, const char* css_class = "") {
    absl::StrAppend(&out_, "<div class=\"scroll\"><table class=\"", css_class, "\"><tr>");
    for (const std::string& cell : head) absl::StrAppend(&out_, "<th>", escape(cell), "</th>");
    raw("</tr>\n");
    for (const Row& row : rows) {
      raw("<tr>");
      for (const std::string& cell : row) absl::StrAppend(&out_, "<td>", escape(cell), "</td>");
      raw("</tr>\n");
    }
    raw("</table></div>\n");
  }
  void charts(std::vector<ChartSpec> specs) {
    if (specs.empty()) return;
    raw("<div class=\"plots\">\n");
    for (ChartSpec& chart : specs) {
      raw(chart.wide ? "<div class=\"plot wide\">" : "<div class=\"plot\">");
      element("p", "what", chart.title);
      absl::StrAppend(&out_, "<div class=\"canvas", chart.low ? " low" : "", "\"><canvas id=\"", escape(chart.id),
                      "\" role=\"img\" aria-label=\"", escape(chart.title), "\"></canvas></div></div>\n");
      charts_.push_back(std::move(chart.spec));
    }
    raw("</div>\n");
  }
  std::string finish(const std::string& chart_js) {
    raw("</main>\n");
    if (!chart_js.empty() && !charts_.empty()) {
      // In a script element only "<" can end the data early; as \u003c it is the same JSON.
      std::string data;
      for (char c : charts_.dump(-1, ' ', false, json::error_handler_t::replace)) {
        if (c == '<') {
          data += "\\u003c";
        } else {
          data += c;
        }
      }
      absl::StrAppend(&out_, "<script type=\"application/json\" id=\"charts\">", data, "</script>\n<script>", chart_js,
                      "</script>\n<script>", std::string(kReportScript), "</script>\n");
    }
    raw("</body></html>\n");
    return std::move(out_);
  }

 private:
  std::string out_;
  json charts_ = json::array();
};

std::string shown(const std::optional<double>& value, int digits) {
  return value ? format_significant(*value, digits) : "–";
}
std::string shown_share(const std::optional<double>& value, int digits) {
  return value ? format_share(*value, digits) : "–";
}
std::string shown_increase(const std::optional<double>& value) {
  return value ? format_increase(*value) : "–";
}
std::string shown_count(const std::optional<double>& value) {
  return value ? format_count(*value) : "–";
}
std::string shown_bytes(const std::optional<double>& value) {
  return value ? format_bytes(*value) : "–";
}

std::string scheme(const json& plan) {
  Row parts;
  if (const std::string solver = text(plan, "solver"); !solver.empty()) parts.push_back(solver);
  if (const std::string bits = text(plan, "bits"); !bits.empty()) parts.push_back(bits + " bits");
  if (const std::string symmetric = text(plan, "symmetric"); !symmetric.empty()) {
    parts.push_back(symmetric == "true" ? "symmetric" : "asymmetric");
  }
  if (const std::string group = text(plan, "group_size"); !group.empty()) {
    parts.push_back(group == "-1" ? "one scale per row" : "groups of " + group);
  }
  std::string out;
  for (const std::string& part : parts) absl::StrAppend(&out, out.empty() ? "" : ", ", part);
  return out;
}

void add_head(const json& report, Page& page) {
  const std::string run = text(report, "run");
  const std::string title = run.empty() ? "gridquant report" : run;
  page.raw(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
  page.element("title", "", title);
  page.raw("<style>");
  page.raw(kReportStyle);
  page.raw("</style></head>\n<body><main>\n");
  page.element("h1", "", title);
  Row facts = {"gridquant"};
  if (const std::string pipeline = text(report, "pipeline"); !pipeline.empty()) facts.push_back("pipeline " + pipeline);
  if (const json* model = section(report, "model")) {
    facts.push_back(text(*model, "architecture"));
    if (const auto parameters = number(*model, "parameters"))
      facts.push_back(format_count(*parameters) + " parameters");
  }
  if (const json* plan = section(report, "plan")) facts.push_back(scheme(*plan));
  facts.push_back(text(report, "created"));
  std::erase(facts, "");
  std::string line;
  for (const std::string& fact : facts) absl::StrAppend(&line, line.empty() ? "" : " · ", fact);
  page.element("p", "soft", line);
}

void add_answer(const json& report, Page& page) {
  const std::string sentence = headline(report);
  if (!sentence.empty()) {
    page.raw("<div class=\"answer\">");
    page.element("p", "question", "Does quantization hurt Korean more than English?");
    page.element("p", "sentence", sentence);
    page.raw("</div>\n");
  }
  if (const json* warnings = list(report, "warnings")) {
    for (const json& warning : *warnings) {
      if (warning.is_string()) page.element("div", "warning", "Warning: " + warning.get<std::string>());
    }
  }
}

void add_tile(Page& page, std::string_view what, std::string_view value, std::string_view note) {
  page.raw("<div class=\"tile\">");
  page.element("div", "what", what);
  page.element("div", "value", value);
  page.element("div", "soft", note);
  page.raw("</div>\n");
}

void add_tiles(const json& report, Page& page) {
  page.raw("<div class=\"tiles\">\n");
  if (const json* quantize = section(report, "quantize")) {
    const auto before = number(*quantize, "original_bytes"), after = number(*quantize, "bytes");
    if (before && after && *after > 0) {
      add_tile(page, "Size", format_bytes(*before) + " → " + format_bytes(*after),
               absl::StrCat(format_significant(*before / *after, 3), " times smaller"));
    }
  }
  for (const LanguageResult& r : language_results(report)) {
    add_tile(page, "Perplexity, " + r.name, shown(r.perplexity_original, 4) + " → " + shown(r.perplexity_quantized, 4),
             absl::StrCat(shown_increase(r.perplexity_increase), ", KL ", shown(r.kl_mean, 3)));
  }
  double seconds = 0;
  if (const json* stages = list(report, "stages")) {
    for (const json& stage : *stages) seconds += number(stage, "seconds").value_or(0);
    const json* quantize = section(report, "quantize");
    const auto peak = quantize == nullptr ? std::nullopt : number(*quantize, "peak_rss_bytes");
    add_tile(page, "Time of all stages", format_seconds(seconds), peak ? "peak memory " + format_bytes(*peak) : "");
  }
  page.raw("</div>\n");
}

void add_quality(const json& report, Page& page) {
  const std::vector<LanguageResult> results = language_results(report);
  if (results.empty()) return;
  page.raw("<section class=\"card\">");
  page.element("h2", "", "Quality on text that was not used for calibration");
  std::vector<Row> rows;
  for (const LanguageResult& r : results) {
    rows.push_back({r.name, shown_count(r.tokens), shown(r.perplexity_original, 5), shown(r.perplexity_quantized, 5),
                    shown_increase(r.perplexity_increase), shown(r.kl_mean, 3), shown(r.kl_max, 3),
                    shown_share(r.top1_agreement, 1)});
  }
  page.table({"Language", "Tokens", "Perplexity before", "after", "increase", "KL mean", "KL max", "Top-1 agreement"},
             rows);
  page.charts(quality_charts(report));
  page.element(
      "p", "soft",
      "KL is in nats per token, from the original's next-token distribution to the quantized model's. Perplexities of "
      "two languages are not comparable with each other (a tokenizer cuts them differently); increases and KL are.");
  page.raw("</section>\n");
}

void add_layers(const json& report, Page& page) {
  const json* quantize = section(report, "quantize");
  const json* layers = quantize == nullptr ? nullptr : list(*quantize, "layers");
  if (layers == nullptr) return;
  page.raw("<section class=\"card\">");
  page.element("h2", "", "Error of each layer");
  page.charts(layer_charts(report));
  std::vector<std::pair<double, Row>> sorted;
  for (const json& row : *layers) {
    const auto error = number(row, "relative_error");
    if (error) sorted.push_back({*error, {text(row, "tensor"), text(row, "block"), format_share(*error, 3)}});
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<Row> rows;
  for (auto& [error, row] : sorted) rows.push_back(std::move(row));
  page.raw("<details>");
  page.element("summary", "", absl::StrCat("All ", rows.size(), " layers, largest error first"));
  page.table({"Tensor", "Block", "Relative error"}, rows);
  page.raw("</details></section>\n");
}

void add_variants(const json& report, Page& page) {
  std::vector<Row> rows;
  for (const Variant& variant : variants(report)) rows.push_back({variant.stage, variant.result});
  if (rows.empty()) return;
  page.raw("<section class=\"card\">");
  page.element("h2", "", "Variants");
  page.element("p", "", "The rest of this page is about the first stage of each kind.");
  page.table({"Stage", "Result"}, rows, "texts");
  page.raw("</section>\n");
}

void add_experts(const json& report, Page& page) {
  const std::vector<ExpertCoverage> coverage = expert_coverage(report);
  if (coverage.empty()) return;
  page.raw("<section class=\"card\">");
  page.element("h2", "", "Calibration tokens of each expert");
  Row head = {"Block", "Experts", "Fewest tokens", "Median", "Most", "Too few for GPTQ"};
  for (const auto& [language, reached] : coverage.front().reached) head.push_back("Reached by " + language);
  std::vector<Row> rows;
  double starved = 0;
  for (const ExpertCoverage& of : coverage) {
    Row row = {of.block,
               format_count(of.experts),
               format_count(of.fewest),
               format_count(of.median),
               format_count(of.most),
               format_count(of.starved)};
    for (const auto& [language, reached] : of.reached) row.push_back(format_count(reached));
    rows.push_back(std::move(row));
    starved += of.starved;
  }
  page.element("p", "",
               starved == 0 ? "Every expert saw enough tokens for GPTQ."
                            : format_count(starved) +
                                  " experts saw too few tokens for GPTQ, and were rounded to nearest "
                                  "with the statistics of all experts of their block.");
  page.table(head, rows);
  page.raw("</section>\n");
}

void add_texts(Page& page, const char* title, const Row& head, const std::vector<Row>& rows) {
  if (rows.empty()) return;
  page.raw("<details>");
  page.element("summary", "", absl::StrCat(title, " (", rows.size(), ")"));
  page.table(head, rows, "texts");
  page.raw("</details>\n");
}

std::vector<Row> reasons(const json& object, const char* key) {
  std::vector<Row> rows;
  if (const json* found = list(object, key)) {
    for (const json& row : *found) rows.push_back({text(row, "tensor"), text(row, "reason")});
  }
  return rows;
}

void add_size(const json& report, Page& page) {
  const json* quantize = section(report, "quantize");
  const json* plan = section(report, "plan");
  if (quantize == nullptr && plan == nullptr) return;
  page.raw("<section class=\"card\">");
  page.element("h2", "", "Size and scheme");
  page.charts(size_charts(report));
  std::vector<Row> rows;
  if (plan != nullptr) {
    rows.push_back({"Scheme", scheme(*plan)});
    rows.push_back({"Quantized tensors", shown_count(number(*plan, "quantized_tensors"))});
    rows.push_back({"Bits per weight", shown(number(*plan, "bits_per_weight"), 4)});
    rows.push_back({"Size forecast by the plan", shown_bytes(number(*plan, "forecast_bytes"))});
    rows.push_back({"Peak memory forecast by the plan", shown_bytes(number(*plan, "memory_bytes"))});
  }
  if (quantize != nullptr) {
    rows.push_back({"Size before", shown_bytes(number(*quantize, "original_bytes"))});
    rows.push_back({"Size after", shown_bytes(number(*quantize, "bytes"))});
    rows.push_back({"Blocks", text(*quantize, "blocks")});
    rows.push_back({"Blocks taken over from an earlier attempt", text(*quantize, "resumed_blocks")});
    rows.push_back({"Products computed in", text(*quantize, "compute")});
    rows.push_back({"Peak memory of quantize", shown_bytes(number(*quantize, "peak_rss_bytes"))});
  }
  std::erase_if(rows, [](const Row& row) { return row[1].empty() || row[1] == "–"; });
  page.table({"What", "Value"}, rows, "texts");
  if (plan != nullptr) add_texts(page, "Tensors left as they are", {"Tensor", "Reason"}, reasons(*plan, "kept"));
  if (quantize != nullptr) {
    add_texts(page, "Tensors that fell back to plain rounding", {"Tensor", "Reason"}, reasons(*quantize, "fallbacks"));
  }
  page.raw("</section>\n");
}

void add_time(const json& report, Page& page) {
  const json* stages = list(report, "stages");
  if (stages == nullptr) return;
  page.raw("<section class=\"card\">");
  page.element("h2", "", "Time");
  page.charts(time_charts(report));
  std::vector<Row> rows;
  for (const json& stage : *stages) {
    const auto seconds = number(stage, "seconds");
    rows.push_back({text(stage, "name"), text(stage, "state"), seconds ? format_seconds(*seconds) : "–",
                    text(stage, "attempts"), text(stage, "cached") == "true" ? "reused" : "computed"});
  }
  page.table({"Stage", "State", "Time", "Attempts", "Result"}, rows);
  page.raw("</section>\n");
}

void add_fields(const json* object, const std::string& prefix, std::vector<Row>& rows) {
  if (object == nullptr) return;
  for (const auto& [key, value] : object->items()) {
    const std::string name = prefix + key;
    if (value.is_object()) {
      add_fields(&value, name + " ", rows);
    } else if (!value.is_null()) {
      rows.push_back({name, value.is_string() ? value.get<std::string>()
                                              : value.dump(-1, ' ', false, json::error_handler_t::replace)});
    }
  }
}

void add_provenance(const json& report, Page& page) {
  std::vector<Row> rows;
  add_fields(section(report, "params"), "param ", rows);
  add_fields(section(report, "model"), "model ", rows);
  if (const json* found = section(report, "calibration")) {
    json calibration = *found;
    calibration.erase("experts");  // has its own table
    add_fields(&calibration, "calibration ", rows);
  }
  add_fields(section(report, "environment"), "environment ", rows);
  if (rows.empty()) return;
  page.raw("<section class=\"card\">");
  page.element("h2", "", "What this was made from");
  page.table({"What", "Value"}, rows, "texts");
  page.raw("</section>\n");
}

// HTML ends a script at "</script" in any case, wherever it stands.
bool ends_script(const std::string& script) {
  constexpr std::string_view kEnd = "</script";
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; };
  return std::search(script.begin(), script.end(), kEnd.begin(), kEnd.end(), same) != script.end();
}

}  // namespace

StatusOr<std::string> render_html(const json& report, const std::string& chart_js) {
  if (number(report, "format") != 1) return absl::InvalidArgumentError("report.json: \"format\" must be 1");
  if (ends_script(chart_js)) {
    return absl::InvalidArgumentError("the chart library contains </script and cannot be put into a page");
  }
  Page page;
  add_head(report, page);
  add_answer(report, page);
  add_tiles(report, page);
  add_variants(report, page);
  add_quality(report, page);
  add_layers(report, page);
  add_experts(report, page);
  add_size(report, page);
  add_time(report, page);
  add_provenance(report, page);
  return page.finish(chart_js);
}

}  // namespace gridquant::eval
