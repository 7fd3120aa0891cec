---@meta sipeat.testing
error("type stubs: require \"sipeat.testing\" in a test instead")

--- Tests of scripts, run by `sipeat test` (docs/testing.md). Each test has a state of its own, in
--- which Kafka, HTTP and mail are fakes and time is virtual.
local M = {}

--- Declares a test.
---@param name string
---@param f fun()
function M.test(name, f) end

--- f() runs before each test of the file.
---@param f fun()
function M.before(f) end

--- f() runs after each test of the file, also after one that failed; the last one declared first.
---@param f fun()
function M.after(f) end

--- Ends the test here; it counts as skipped.
---@param reason string
function M.skip(reason) end

--- Ends the test here; it has failed.
---@param message any
function M.fail(message) end

--- Raises unless both are equal, table by table; says where they differ. 1 and 1.0 do.
---@param got any
---@param expected any
---@param what? string
function M.eq(got, expected, what) end

--- Raises unless the value is true; a message beside it is shown, as in t.ok(f()).
---@generic T
---@param value T?
---@param what? any
---@return T value
function M.ok(value, what) end

--- Raises unless `text` has `part` in it.
---@param text string
---@param part string
---@param what? string
function M.has(text, part, what) end

--- Raises unless f() raises, and with `part` unless that text is in it.
---@param f fun()
---@param part? string
---@return any raised
function M.raises(f, part) end

--- Loads a script in the place of the one before, as `run` does. A relative path begins at the
--- folder of the test's file, or at the one above it, or in the working directory.
---@param path string
function M.load(path) end

--- Sets variables of the environment, which is empty otherwise; false takes one away.
---@param values table<string, string|false>
function M.env(values) end

---@class sipeat.testing.DeliverOptions
---@field group? string only the flow of this group; without it, every flow that takes the topic
---@field wait? boolean until the event has ended; default true

---@class sipeat.testing.Output
---@field topic string
---@field key? string
---@field value? string
---@field headers table<string, string>

---@class sipeat.testing.Outcome
---@field status string "done" or "dead"
---@field result any what the handler returned
---@field failure? sipeat.Failure
---@field attempts integer
---@field outputs sipeat.testing.Output[] of every attempt, the dead letter included
---@field group string
---@field event sipeat.Event
---@field groups table<string, sipeat.testing.Outcome> of every flow that took it
local Outcome = {}

--- The event's dead letter, or nil.
---@return table?
function Outcome:dead_letter() end

--- Writes a record into a topic and waits until the flows that take it are done with it: with their
--- retries, whose pauses pass in virtual time.
---@param topic string
---@param key? string
---@param value? string|table bytes; an event (type and data, or of a definition); else as JSON
---@param headers? table<string, string>
---@param options? sipeat.testing.DeliverOptions
---@return sipeat.testing.Outcome outcome with wait = false: { topic, offset }
function M.deliver(topic, key, value, headers, options) end

--- Waits until no event is on its way any more.
---@return true?
function M.settle() end

---@class sipeat.testing.Record: sipeat.testing.Output
---@field offset integer
---@field timestamp integer
---@field json any the value, decoded

--- What the script wrote into a topic, without what the test delivered there.
---@param topic string
---@return sipeat.testing.Record[]
function M.published(topic) end

--- Dead letters of all topics, or of the one that they stand in or came from: message, reason,
--- kind, original_topic, group, attempts, event_id, type, headers, record.
---@param topic? string
---@return table[]
function M.dead_letters(topic) end

---@class sipeat.testing.CrashAtEveryStepOptions
---@field crashes? integer how many in a row, 1 to 4; default 2
---@field attempts? integer of the handler in one life of a host; default 3
---@field pause? string between them; default "1s"
---@field max_runs? integer where it gives up; default 20000
---@field ctx? table more fields of ctx

---@class sipeat.testing.CrashRun: function run(handler, event?): the outcome of the event
---@field outputs table[] what ctx:emit put out: topic, key, value, headers
---@field point fun(name: string) the host may die here, too

--- Runs f(run) again and again: once in peace, and then with the host that runs its chain dying at
--- another point each time. f builds its fakes, calls run(handler, event) and checks what must
--- hold; the outcome has `state` ("done", "dead" or "parked"), `result` and `failure`.
---@param f fun(run: sipeat.testing.CrashRun)
---@param options? sipeat.testing.CrashAtEveryStepOptions
---@return { points: integer, runs: integer } report
function M.crash_at_every_step(f, options) end

--- Lets virtual time pass; what is due meanwhile happens, in order.
---@param duration string
---@return true?
function M.advance(duration) end

--- The time of the day, in milliseconds since 1970-01-01 UTC.
---@return integer
function M.now_ms() end

---@class sipeat.testing.AnswerOptions
---@field status? integer default 200
---@field headers? table<string, string> default {}
---@field body? string default ""
---@field json? any the body, as JSON
---@field delay? string default "0ms"; beyond the caller's timeout the request times out
---@field fail? string "refused", "reset", "no answer" or "half"

---@class sipeat.testing.HttpOnOptions
---@field times? integer how often it answers; of expect: how often it has to be called, 1
---@field headers? table<string, string> that the request has to have
---@field body? string|table|fun(request: sipeat.testing.Request): boolean what it has to be

---@class sipeat.testing.Request
---@field method string
---@field url string
---@field path string
---@field query table<string, string>
---@field headers table<string, string> names in small letters
---@field body? string
---@field json any the body, decoded
---@field form table<string, string> the body, as a form
---@field at_ms integer

---@alias sipeat.testing.Made fun(request: sipeat.testing.Request): sipeat.testing.AnswerOptions
---@alias sipeat.testing.Single sipeat.testing.AnswerOptions|sipeat.testing.Made
---@alias sipeat.testing.Answer sipeat.testing.Single|sipeat.testing.Single[]

---@class sipeat.testing.Http
local Http = {}

--- Answers such requests; the first rule that fits does. In a URL "*" stands for anything; "/path"
--- fits any host. A list of answers is given in order, its last one from then on.
---@param method string "*" for any
---@param url string
---@param answer sipeat.testing.Answer
---@param options? sipeat.testing.HttpOnOptions
function Http.on(method, url, answer, options) end

--- As on, and the test fails unless the request comes options.times times (1).
---@param method string
---@param url string
---@param answer sipeat.testing.Answer
---@param options? sipeat.testing.HttpOnOptions
function Http.expect(method, url, answer, options) end

--- From here on what is expected has to come in the order of its declaration.
function Http.ordered() end

--- The requests so far.
---@param url? string
---@return sipeat.testing.Request[]
function Http.calls(url) end

--- HTTP: a request that no rule answers fails the test.
---@type sipeat.testing.Http
M.http = {}

---@class sipeat.testing.RequestOptions
---@field headers? table<string, string> default {}
---@field body? string
---@field json? any the body, as JSON
---@field form? table the body, as a form

---@class sipeat.testing.RouteAnswer
---@field status integer
---@field headers table<string, string>
---@field body string
---@field json any the body, decoded
---@field aborted? boolean it was a stream that failed

--- One request to the routes of the script; no port is opened.
---@param method string
---@param target string path and query
---@param options? sipeat.testing.RequestOptions
---@return sipeat.testing.RouteAnswer? answer
---@return string? message
---@return string? code
function M.request(method, target, options) end

---@class sipeat.testing.MailOptions
---@field url? string default "smtp://mail.test"

---@class sipeat.testing.Mail
---@field messages table[] that it took: from, to, cc, bcc, subject, text, html, message_id, mime
---@field by_id table<string, integer> how often each Message-ID came
local Mail = {}

--- What the next mails meet, one each: "refused", "temporary", "connection refused", "no answer",
--- "late answer" (it was taken), "ok".
---@param ... string
---@return sipeat.testing.Mail
function Mail:next(...) end

--- How many different messages were taken.
---@return integer
function Mail:count() end

--- A mail server; SMTP_URL is set.
---@param options? sipeat.testing.MailOptions
---@return sipeat.testing.Mail
function M.mail(options) end

---@class sipeat.testing.DiscordOptions
---@field webhook? string default "https://discord.com/api/webhooks/1/test"

---@class sipeat.testing.Discord
local Discord = {}

--- What the next requests meet, one each: "ok", "connection refused", "no answer", "late answer",
--- "half an answer", "error", "error after", "rate limited". After "late answer", "half an answer"
--- and "error after" it has happened.
---@param ... string
---@return sipeat.testing.Discord
function Discord:next(...) end

--- The messages that it took.
---@return table[]
function Discord.messages() end

--- A webhook that refuses what Discord refuses; DISCORD_WEBHOOK is set.
---@param options? sipeat.testing.DiscordOptions
---@return sipeat.testing.Discord
function M.discord(options) end

---@class sipeat.testing.PaymentsOptions
---@field url? string default "https://api.stripe.com"
---@field key_lifetime? string of idempotency keys; default "24h"

---@class sipeat.testing.Payments
local Payments = {}

--- As of Discord, and "conflict" (409), "declined", "expired key". Reads (GET) meet no trouble.
---@param ... string
---@return sipeat.testing.Payments
function Payments:next(...) end

--- Payments that were made.
---@return integer
function Payments.captured() end

--- Refunds that were made.
---@return integer
function Payments.refunded() end

--- What is on its books: { what = "payment" | "refund" | "cancel", id, amount_minor, status, … }.
---@return table[]
function Payments.entries() end

--- How often a request came under each idempotency key.
---@return table<string, integer>
function Payments:keys() end

--- Stripe's payment intents and refunds; STRIPE_SECRET_KEY is set. Its test cards pay or decline.
---@param options? sipeat.testing.PaymentsOptions
---@return sipeat.testing.Payments
function M.payments(options) end

return M
