---@meta sipeat.template
error "sipeat.template: this file describes the module to an editor; it is not run"

---Templates: text with places for values, escaped by where they stand.
---`{{ name }}`, `{{ a.b }}`, `{{ . }}`, `{{ name? }}` (may be missing), `{{# list }}…{{/ list }}`,
---`{{^ list }}…{{/ list }}` (when there is none), `{{! comment }}`.
local M = {}

---HTML. Raises when a value stands where escaping does not help: in scripts, styles, tags.
---@param text string
---@return fun(values: table): sipeat.Html
function M.html(text) end

---Plain text: nothing is escaped.
---@param text string
---@return fun(values: table): string
function M.text(text) end

---One line of plain text, as a subject: line breaks become blanks.
---@param text string
---@return fun(values: table): string
function M.line(text) end

return M
