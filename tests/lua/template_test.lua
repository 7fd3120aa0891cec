--- sipeat.template: values are escaped by where they stand, and where that does not help the
--- template is refused.
local html = require "sipeat.html"
local json = require "sipeat.json"
local money = require "sipeat.money"
local template = require "sipeat.template"
local t = require "sipeat.luatest"

local function made(text, values)
  return tostring(template.html(text)(values))
end

local EVIL = [[<script>alert("x")</script>&'`]]

t.test("values, parts of tables, lists and what is missing", function()
  local f = template.text [[
Hello {{ name }},{{! not shown }}
{{# items }}- {{ count }} x {{ drink.name }}
{{/ items }}{{^ items }}nothing
{{/ items }}{{# gift }}A gift: {{ . }}.{{/ gift }}{{ note? }}]]
  t.eq(f {
    name = "Ada", gift = "cup",
    items = { { count = 2, drink = { name = "Tea" } }, { count = 1, drink = { name = "Mate" } } },
  }, "Hello Ada,\n- 2 x Tea\n- 1 x Mate\nA gift: cup.")
  t.eq(f { name = 7, items = {}, gift = false, note = true }, "Hello 7,\nnothing\ntrue")
  t.eq(f { name = "A", gift = json.null }, "Hello A,\nnothing\n")
  t.eq(template.text "{{ sum }} {{ list.2 }}" { sum = money.new(250, "EUR"), list = { 1, 2 } },
    money.format(money.new(250, "EUR")) .. " 2")
  t.eq(template.text "{{# a }}{{ b }}{{ outer }}{{/ a }}" { a = { b = 1 }, outer = 2 }, "12")
end)

t.test("in HTML nothing that is given becomes markup", function()
  t.eq(made("<p>{{ x }}</p>", { x = EVIL }),
    "<p>&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;`</p>")
  t.eq(made([[<p title="{{ x }}" class='{{ x }}'>]], { x = [["'>]] }),
    [[<p title="&quot;&#39;&gt;" class='&quot;&#39;&gt;'>]])
  t.eq(made("<b>{{ x }}</b>", { x = html.tags.i "it" }), "<b><i>it</i></b>")
  t.eq(made([[<b title="{{ x }}">]], { x = html.raw "<i>" }), [[<b title="&lt;i&gt;">]])
  t.ok(html.is_html(template.html "a" {}))
end)

t.test("a URL runs nothing, and a value within one stays within its part", function()
  local link = [[<a href="{{ x }}">]]
  t.eq(made(link, { x = "https://a.test/?b=1&c=2" }), [[<a href="https://a.test/?b=1&amp;c=2">]])
  t.eq(made(link, { x = "/orders/1" }), [[<a href="/orders/1">]])
  for _, bad in ipairs {
    "javascript:alert(1)", " JavaScript:alert(1)", "java\nscript:x", "\1data:text/html,x",
    "vbscript:x", "file:///etc/passwd",
  } do
    t.eq(made(link, { x = bad }), [[<a href="about:invalid">]], bad)
  end
  t.eq(made([[<a href="https://a.test/{{ x }}?q={{ x }}">]], { x = "a/b?&\"ü" }),
    [[<a href="https://a.test/a%2Fb%3F%26%22%C3%BC?q=a%2Fb%3F%26%22%C3%BC">]])
  t.eq(made([[<a href="mailto:{{ x }}">]], { x = "a@b.test?bcc=c" }),
    [[<a href="mailto:a%40b.test%3Fbcc%3Dc">]])
end)

t.test("places that cannot be made safe are refused when the template is made", function()
  for text, why in pairs {
    ["<script>x = {{ x }}</script>"] = "not in script",
    ["<style>p { color: {{ x }} }</style>"] = "not in style",
    ["<p {{ x }}>"] = "not in a tag",
    ["<{{ x }}>"] = "not in a tag",
    ["<p title={{ x }}>"] = "a value without quotes",
    ["<p title=a{{ x }}>"] = "a value without quotes",
    ["<!-- {{ x }} -->"] = "a comment",
    ['<p onclick="{{ x }}">'] = "attribute onclick",
    ['<p ONCLICK="{{ x }}">'] = "attribute onclick",
    ['<p style="color: {{ x }}">'] = "attribute style",
    ['<a href="javascript:f({{ x }})">'] = "javascript: URL",
    ['<a href="java{{ x }}">'] = "a URL begins with one value",
    ['<a href="{{ x }}{{ y }}">'] = "a URL begins with one value",
    ['<script src="{{ x }}"></script>'] = "attribute src",
    ['<p title="{{# x }}">{{/ x }}'] = "a section ends where it began",
    ["<p {{# x }}a{{/ x }}b>"] = "whole attributes",
    ["{{# x }}"] = "{{#x}} is not closed",
    ["{{# x }}{{/ y }}"] = "{{/y}} closes nothing",
    ["{{/ y }}"] = "{{/y}} closes nothing",
    ["{{ a b }}"] = "is no tag",
    ["{{{ a }}}"] = "is no tag",
    ["{{}}"] = "is no tag",
    [("{{# a }}"):rep(60)] = "more than 50 sections",
  } do
    t.has(t.fails(function() template.html(text) end, why), "template_test.lua")
  end
  t.fails(template.text, "line 3: ", "a\nb\n{{ a b }}")
  t.fails(template.html, "a text, got nil")
end)

t.test("what stands around values is followed through comments, scripts and sections", function()
  t.eq(made([[<!doctype html><!-- <a "> --><script>if (a < b) "</p>"</script><p>{{ x }}</p>]],
    { x = "<" }), [[<!doctype html><!-- <a "> --><script>if (a < b) "</p>"</script><p>&lt;</p>]])
  t.eq(made([[<input {{# on }}checked{{/ on }} value="{{ x }}">{{ x }}]], { on = true, x = '"' }),
    [[<input checked value="&quot;">&quot;]])
  t.eq(made([[<ul>{{# l }}<li><a href="/i/{{ id }}">{{ n }}</a></li>{{/ l }}</ul>]],
    { l = { { id = "1/2", n = "<" }, { id = 3, n = 4 } } }),
    [[<ul><li><a href="/i/1%2F2">&lt;</a></li><li><a href="/i/3">4</a></li></ul>]])
  t.eq(made([[<br/><p class='a {{# b }}b{{/ b }}'>1 < 2 {{ x }}]], { b = 1, x = ">" }),
    [[<br/><p class='a b'>1 < 2 &gt;]])
end)

t.test("a value that is missing, or no text, raises at the caller's line", function()
  local page, subject = template.html "{{ a.b }}", template.line "{{ a }}"
  t.has(t.fails(function() page { a = 1 } end, "a.b has no value"), "template_test.lua")
  t.fails(page, "a.b has no value")
  t.has(t.fails(function() subject { a = {} } end, "a is a table, not a text"),
    "template_test.lua")
  t.eq(subject { a = "one\r\nBcc: two" }, "one Bcc: two")
end)
