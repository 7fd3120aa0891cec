---@meta sipeat.html
error("type stubs: require \"sipeat.html\" in a script instead")

--- HTML as text: elements are made by calls, and what they hold is escaped unless it is HTML
--- already.
local M = {}

---@class sipeat.Html a text that is HTML; tostring gives it

--- Text as text of HTML, also within an attribute's quotes.
---@param text any
---@return string
function M.escape(text) end

--- Says that this text is HTML already: never of what came from outside.
---@param text string
---@return sipeat.Html
function M.raw(text) end

---@param value any
---@return boolean
function M.is_html(value) end

--- What the items are one after the other: texts, numbers, HTML, lists of them; nil and false are
--- left out.
---@param ... any
---@return sipeat.Html
function M.join(...) end

--- One element: element("a", { href = url }, "text").
---@param name string
---@param attributes table? names and values; its list part is what the element holds
---@param ... any
---@return sipeat.Html
function M.element(name, attributes, ...) end

--- h.p { class = "x", "text" } is element("p", …).
---@type table<string, fun(content: any): sipeat.Html>
M.tags = {}

--- A whole document.
---@param language string as in "en"
---@param head sipeat.Html
---@param body sipeat.Html
---@return string
function M.document(language, head, body) end

return M
