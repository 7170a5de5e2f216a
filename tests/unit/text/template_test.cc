// The template language: what it prints, where it says a mistake is, and that no template makes it crash or run on.
// Equality with jinja2 itself: tests/interop/chat.py.
#include "engine/text/template/template.h"

#include <random>

#include "tests/unit/text/testing.h"

namespace gridquant::text::jinja {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;
using testing::StartsWith;

StatusOr<std::string> render(std::string_view source, const Json& variables = Json::object(),
                             const Limits& limits = {}) {
  GQ_ASSIGN_OR_RETURN(const Template parsed, Template::parse(source, "t.jinja", limits));
  return parsed.render(variables);
}

std::string error_of(std::string_view source, const Json& variables = Json::object(), const Limits& limits = {}) {
  const StatusOr<std::string> text = render(source, variables, limits);
  EXPECT_FALSE(text.ok()) << source << " gives " << *text;
  return std::string(text.status().message());
}

TEST(TemplateTest, PrintsWhatAChatTemplateAsksFor) {
  const Json variables = {
      {"messages", {{{"role", "user"}, {"content", " 안녕 "}}, {{"role", "assistant"}, {"content", "hi"}}}},
      {"bos_token", "<s>"}};
  const auto text = render(
      "{{ bos_token }}\n{%- for m in messages %}\n  {%- if m.role == 'user' %}\n[{{ loop.index }} {{ m['content'] | "
      "trim }}]\n"
      "  {%- else %}{{ m.content.upper() + '!' }}{% endif %}\n{%- endfor %}\n",
      variables);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "<s>[1 안녕]HI!");
}

TEST(TemplateTest, SaysWhereAMistakeIs) {
  EXPECT_EQ(error_of("a\n{% if x %}"), "t.jinja:2:11: endif is expected, not the end of the template");
  EXPECT_EQ(error_of("a\n  {{ 1 + }}"), "t.jinja:2:10: an expression is expected, not the end of the output ('}}')");
  EXPECT_EQ(error_of("가나 {{ 'x }}"), "t.jinja:1:7: the string is not closed");
  EXPECT_EQ(error_of("{% extends 'base' %}"), "t.jinja:1:4: the statement 'extends' is not known here");
  EXPECT_EQ(error_of("\n{{ x.y.z }}", {{"x", Json::object()}}), "t.jinja:2:7: 'dict object' has no attribute 'y'");
  EXPECT_EQ(error_of("{{ y + 'a' }}"), "t.jinja:1:6: 'y' is undefined");
  EXPECT_EQ(error_of("{{ 'a'|nosuch }}"), "t.jinja:1:8: there is no filter called 'nosuch'");
  EXPECT_EQ(error_of("{{ raise_exception('Only users!') }}"),
            "t.jinja:1:19: the template refuses the conversation: Only users!");
  EXPECT_EQ(error_of("{{ 'a'.format(1) }}"), "t.jinja:1:14: str.format: is not supported in templates");
}

TEST(TemplateTest, RefusesWhatItCannotDo) {
  for (const char* source :
       {"{{ '<'|e }}", "{{ 'a'|safe }}", "{{ '%s' % 1 }}", "{% for x in [] recursive %}{% endfor %}",
        "{{ range(*[1]) }}", "{{ 9223372036854775807 + 1 }}", "{{ strftime_now('%Q') }}"}) {
    EXPECT_THAT(error_of(source), StartsWith("t.jinja:1:")) << source;
  }
  EXPECT_THAT(error_of("\xff"), HasSubstr("not UTF-8 at byte 0"));
  EXPECT_THAT(error_of("x", {{"n", 18446744073709551615u}}), HasSubstr("64 bits"));
  EXPECT_THAT(error_of(std::string(100, 'x'), Json::object(), {.max_source = 99}), HasSubstr("too large"));
}

TEST(TemplateTest, EndsWhateverTheTemplateDoes) {
  const Limits small{.steps = 100'000, .max_text = 100'000};
  const char* const endless[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
      "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}",
      "{{ 'x' * 999999999999 }}",
      "{{ [1] * 999999999999 }}",
      "{{ 'abc'.replace('', 'x' * 99999) }}",
      "{{ 'a'|indent(999999999) }}",
      "{{ 'a'|center(999999999) }}",
      "{{ ('x' * 50000)|list|join('y' * 50000) }}",
      "{{ range(0, 9999999999) }}",
  };
  for (const char* source : endless)
    EXPECT_THAT(error_of(source, Json::object(), small), StartsWith("t.jinja:1:")) << source;
}

TEST(TemplateTest, NestingIsBounded) {
  const auto repeated = [](const std::string& text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  EXPECT_TRUE(render("{{ " + repeated("(", 40) + "1" + repeated(")", 40) + " }}").ok());
  for (const std::string& source :
       {"{{ " + repeated("(", 100'000), "{{ " + repeated("[", 100'000), "{{ " + repeated("-", 100'000) + "1 }}",
        "{{ " + repeated("not ", 100'000) + "1 }}", "{{ 1" + repeated("+1", 100'000) + " }}",
        "{{ a" + repeated(".a", 100'000) + " }}", "{{ a" + repeated("|trim", 100'000) + " }}",
        "{{ 1" + repeated(" if 1", 100'000) + " }}", repeated("{% if 1 %}", 100'000),
        "{{ a" + repeated(" is b", 100'000) + " }}", "{% set " + repeated("(", 100'000)}) {
    EXPECT_THAT(error_of(source), HasSubstr(":1:")) << source.substr(0, 20);
  }
  Json deep = 1;
  for (int i = 0; i < 300; ++i) deep = Json::array({deep});
  EXPECT_THAT(error_of("x", {{"deep", deep}}), HasSubstr("nested"));
}

TEST(TemplateTest, NamespacesMayHoldThemselves) {
  const auto text =
      render("{% set a = namespace() %}{% set a.a = a %}{% set a.m = [a] %}{{ a.a.a.a is defined }}{{ a }}");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "True<Namespace>");
}

// Mutations of a template that uses most of the language: any answer will do, as long as there is one.
TEST(TemplateTest, SurvivesDamage) {
  const std::string sound =
      "{%- macro f(a, b=[1, {'k': 'v'}]) %}{{ a ~ b[0] }}{% endmacro %}{% set ns = namespace(n=0, s='한글') %}\n"
      "{% for k, v in d.items() if k is string %}{{ f(k|upper, b=v) if v else loop.index0 }}{% set ns.n = ns.n + 1 %}\n"
      "{% if ns.n > 2 and not k in ['a'] %}{% break %}{% elif k == 'x' %}{% raw %}{{{% endraw %}{% endif %}{% endfor "
      "%}\n"
      "{{ ns.s[::-1] ~ d|tojson(indent=2) ~ d|dictsort|first|join('-') }}{# note #}{% call f(1) %}{{ 2 ** 3 }}{% "
      "endcall %}"
      "{% filter trim %} {{ l|map('string')|select('ne', '1')|list }} {% endfilter %}{{ s.split('b', "
      "1)[-1].strip('\\n') }}";
  const Json variables = {{"d", {{"a", {1}}, {"b", nullptr}}}, {"l", {1, 2, 3}}, {"s", "abc\n"}};
  ASSERT_TRUE(render(sound, variables).ok()) << render(sound, variables).status();
  const std::string pieces = "{}%#-+()[]|.,:'\"~=<>* \n\\0a";
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string source = sound;
    for (int edits = 1 + static_cast<int>(random() % 4); edits > 0; --edits) {
      const size_t at = random() % source.size();
      if (random() % 3 == 0) source.erase(at, 1 + random() % 8);
      if (random() % 3 == 0) source.insert(at, 1, pieces[random() % pieces.size()]);
      if (random() % 3 == 0) source.insert(at, sound.substr(random() % sound.size(), random() % 30));
    }
    const auto text = render(source, variables, {.steps = 20'000, .max_text = 20'000});
    if (!text.ok()) {
      EXPECT_THAT(std::string(text.status().message()), StartsWith("t.jinja:"));
    }
  }
}

TEST(TemplateTest, DatesAreAsGiven) {
  const StatusOr<Template> parsed = Template::parse("{{ strftime_now('%d %b %Y, %A, day %j, %-m/%y') }}", "t");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->render(Json::object(), {2024, 2, 29}).value_or(""), "29 Feb 2024, Thursday, day 060, 2/24");
  EXPECT_EQ(parsed->render(Json::object(), {2000, 12, 31}).value_or(""), "31 Dec 2000, Sunday, day 366, 12/00");
}

}  // namespace
}  // namespace gridquant::text::jinja
