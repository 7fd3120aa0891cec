--- HTML: what comes from outside never becomes markup.
local html = require "sipeat.html"
local t = require "sipeat.luatest"

local h = html.tags

t.test("text and attributes are escaped, HTML is not escaped again", function()
  local evil = [[<script>alert("x")</script> & 'y']]
  t.eq(tostring(h.p { evil }),
    "<p>&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;y&#39;</p>")
  t.eq(tostring(h.p { title = '"><img>', h.b { 5 } }),
    '<p title="&quot;&gt;&lt;img&gt;"><b>5</b></p>')
  t.eq(tostring(html.join("a<", html.raw "<br>", { "b", h.i "c" }, false, nil, 1.5)),
    "a&lt;<br>b<i>c</i>1.5")
end)

t.test("attributes are sorted; true has no value, false and nil are left out", function()
  t.eq(tostring(h.input { type = "radio", checked = true, disabled = false, name = "a" }),
    '<input checked name="a" type="radio">')
  t.eq(tostring(html.element("a", { href = "/x" }, "y", nil, h.b { "z" })),
    '<a href="/x">y<b>z</b></a>')
end)

t.test("bytes that are no text become the replacement character", function()
  t.eq(html.escape "a\0b\27c", "a\u{fffd}b\u{fffd}c")
  t.eq(html.escape "a\xff\xc3<", "a\u{fffd}\u{fffd}&lt;")
  t.eq(html.escape "ä\n\t€", "ä\n\t€")
end)

t.test("attributes that run code cannot be given", function()
  t.has(t.fails(function() return h.p { onclick = "x()" } end), "no attribute")
  t.has(t.fails(function() return h.p { ["a b"] = "x" } end), "no attribute")
end)

t.test("a document begins with its type and character set", function()
  local text = html.document("en", h.title { "a & b" }, h.body { "c" })
  t.eq(text, '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    .. "<title>a &amp; b</title></head><body>c</body></html>")
end)
