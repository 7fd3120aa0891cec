---@meta sipeat.access
error("type stubs: require \"sipeat.access\" in a script instead")

--- Who may do what over HTTP: sign-in, tokens and roles, forms of visitors, the audit, masking.
local M = {}

---@alias sipeat.access.Role "viewer"|"operator"|"admin"

---@class sipeat.access.User
---@field name string
---@field role sipeat.access.Role
---@field via "session"|"token"|"proxy"|"dev"
---@field csrf? string what a page of this session sends as x-csrf-token; absent for tokens

--- A handler that runs for users with at least that role, with `req.user` set. Others get 401 or
--- 403; a browser that asks for a page, the sign-in. A session's POST, PUT, PATCH and DELETE must
--- carry the header `x-csrf-token` (or the form's field `csrf`) with `req.user.csrf`.
---@param role sipeat.access.Role
---@param handler fun(req: sipeat.http.Request): sipeat.http.Answer|string|nil
---@return fun(req: sipeat.http.Request): sipeat.http.Answer|string|nil
function M.guard(role, handler) end

--- Whether a user has at least that role.
---@param user sipeat.access.User?
---@param role sipeat.access.Role
---@return boolean
function M.may(user, role) end

--- Who a request belongs to; nil for a visitor.
---@param req sipeat.http.Request
---@return sipeat.access.User?
function M.user(req) end

--- A fresh value for the attribute `nonce` of a page's own <script> and <style>.
---@return string
function M.nonce() end

--- The security headers of a page.
---@param nonce string?
---@return table<string, string>
function M.headers(nonce) end

---@class sipeat.access.PageOptions
---@field status? integer default 200
---@field nonce? string allows inline <script nonce=…> and <style nonce=…>
---@field headers? table<string, string|string[]> besides

--- An answer with a page and its security headers.
---@param html string
---@param options sipeat.access.PageOptions?
---@return sipeat.http.Answer
function M.page(html, options) end

--- For a form of visitors: `token` goes into a hidden field named `csrf`, `cookie`, where there is
--- one, into the header set-cookie of the answer; `key` is what check_form will give.
---@param req sipeat.http.Request
---@return {token: string, key: string, cookie: string?}?
---@return string? message
---@return string? code
function M.form(req) end

--- The idempotency key of a form that was sent: the same when it is sent again.
---@param req sipeat.http.Request
---@param fields table? what req:form() gave
---@return string? key
---@return string? message for the visitor
---@return string? code "CSRF", or that of a file that cannot be read
function M.check_form(req, fields) end

--- Notes a change before it is made. Without `true` the change is not to be made.
---@param req sipeat.http.Request|sipeat.access.User
---@param what string such as "topic.delete"
---@param fields table?
---@return true?
---@return string? message
---@return string? code
function M.audit(req, what, fields) end

---@class sipeat.access.Audited
---@field id integer
---@field at string when
---@field who string
---@field role? string
---@field via string
---@field what string
---@field request? string id of the HTTP request
---@field address? string
---@field fields? table

---@class sipeat.access.AuditedOptions
---@field max? integer default 100
---@field before? integer id: older rows only
---@field since_ms? integer
---@field who? string
---@field what? string "topic" finds "topic.delete" too

--- What was noted, the newest first.
---@param options sipeat.access.AuditedOptions?
---@return sipeat.access.Audited[]?
---@return string? message
---@return string? code
function M.audited(options) end

--- A value covered: "text", "name", "email", "phone", "card"; without a kind by its shape.
---@param value any
---@param kind ("text"|"name"|"email"|"phone"|"card")?
---@return any
function M.mask(value, kind) end

--- A payload as this user may see it: covered by the rules for viewers.
---@param req sipeat.http.Request
---@param value any a table, or a text, which may be JSON
---@return any
function M.seen(req, value) end

--- Sets the rules of masking: a field's name or path -> how it is covered, false to show it.
---@param rules table<string, "text"|"name"|"email"|"phone"|"card"|false>
function M.mask_rules(rules) end

---@class sipeat.access.ServeOptions
---@field file? string SQLite file of users, tokens and sessions; default in memory
---@field dev? fun(path: string) is told each path that signs in once, from this machine

--- For the program itself: adds the routes of signing in and out.
---@param options sipeat.access.ServeOptions?
---@return true?
---@return string? message
---@return string? code
function M.serve(options) end

return M
