---@meta sipeat.kafka
error("type stubs: require \"sipeat.kafka\" in a script instead")

---Kafka below the level of flows: the process's producer, consumers one record at a time, readers
---without a group, and topics and groups.
---@class sipeat.kafka
local M = {}

---@alias sipeat.kafka.Header [string, string?] name and bytes; nil is a header without a value

---@class sipeat.kafka.Record
---@field topic string
---@field partition integer
---@field offset integer
---@field timestamp integer ms since 1970-01-01 UTC; -1 when the broker gave none
---@field timestamp_type "CreateTime"|"LogAppendTime"
---@field key string? bytes
---@field value string? bytes; nil is a tombstone
---@field headers sipeat.kafka.Header[] names may repeat

---@class sipeat.kafka.SendOptions
---@field topic string
---@field key? string decides the partition, as Java's client does (murmur2)
---@field value? string nil writes a tombstone
---@field headers? table<string, string>|sipeat.kafka.Header[]
---@field partition? integer default -1: by the key
---@field timestamp? integer ms since 1970-01-01 UTC; default 0: now

---@class sipeat.kafka.Report
---@field topic string
---@field partition? integer
---@field offset? integer
---@field queued? true it is in the outbox, and has no partition and offset yet

---@class sipeat.kafka.Producer
local Producer = {}

---Hands one record over and answers at once, but while there is no room for it. What is answered
---has wait(), which answers as send does.
---@param record sipeat.kafka.SendOptions
---@return { wait: fun(self: table): sipeat.kafka.Report?, string?, string? }? sent
---@return string? message
---@return string? code
function Producer:start(record) end

--- Hands one record over, as start does, and forgets it: what becomes of it is seen in the log,
--- when it fails. The cheapest way for a handler that does not wait.
---@param record sipeat.kafka.SendOptions
---@return true? ok
---@return string? message
---@return string? code
function Producer:post(record) end

---Sends one record and waits until the broker has acknowledged it.
---@param record sipeat.kafka.SendOptions
---@return sipeat.kafka.Report? report
---@return string? message
---@return string? code such as "MSG_SIZE_TOO_LARGE", "UNKNOWN_TOPIC_OR_PART", "_MSG_TIMED_OUT"
function Producer:send(record) end

---Sends a list and waits for all of it. For a record that failed there is { message, code }.
---@param records sipeat.kafka.SendOptions[]
---@return (sipeat.kafka.Report|{ message: string, code: string })[]? results in the same order
---@return string? message only when the wait was cancelled
---@return string? code
function Producer:send_many(records) end

---@class sipeat.kafka.ProducerOptions
---@field outbox? boolean records are taken by the local disk first (sipeat.outbox); default false

---The process's producer: idempotent, acknowledged by all replicas.
---@param options sipeat.kafka.ProducerOptions?
---@return sipeat.kafka.Producer
function M.producer(options) end

---@class sipeat.kafka.ConsumerOptions
---@field group string
---@field topics string|string[] names, or patterns that begin with ^
---@field from? string|integer "beginning" (default), "end", a time or ms: without a commit

---@class sipeat.kafka.ReaderOptions
---@field topic string
---@field from? string|integer "beginning" (default), "end", a time or ms
---@field offsets? table<integer, integer> where to begin instead, by partition
---@field ends? table<integer, integer> records from that offset on are not read, by partition
---@field partitions? integer[] only these
---@field sieve? sipeat.kafka.Sieve what does not pass every test is passed over

---At most 32 tests, each { kind, text, name? }: "key", "key~", "header", "header=", "header~" (with
---the name of a header), "text", "text~" (anywhere), "json" (it stands in a value), "path" (a value
---in JSON, whose relation to the text is the third: "", "=", "!=", "~", ">", ">=", "<" or "<="). ~
---is for a part, in small letters. The steps of a path are names, indexes from 0, and true for any.
---@class sipeat.kafka.SieveTest: { [1]: string, [2]: string, [3]: string? }
---@field path? (string|integer|true)[]
---@field number? number what the text of a "path" is as a number

---@class sipeat.kafka.Sieve: sipeat.kafka.SieveTest[]
---@field from_ms? integer from that time on, in ms since 1970
---@field until_ms? integer before that time

---@class sipeat.kafka.RunOptions
---@field commit? boolean default true: commit each record that was handled

---A member of a group, or a reader without one. Can be closed by `local c <close> = …`.
---@class sipeat.kafka.Consumer
local Consumer = {}

---The next record, waiting for it.
---@param timeout string? a duration such as "5s"; none waits for ever
---@return sipeat.kafka.Record? record
---@return string? message
---@return string? code "ETIMEDOUT"; "END" once a reader has read everything; "CLOSED"; "EBUSY";
---"PASSED" of a reader with a sieve: call again
function Consumer:next(timeout) end

---The records that are there, up to max or some megabytes; waits for the first one, as next does.
---@param max integer
---@param timeout string? a duration such as "5s"; none waits for ever
---@return sipeat.kafka.Record[]? records
---@return string? message
---@return string? code as of next
function Consumer:take(max, timeout) end

---How many records the sieve of a reader has passed over.
---@return integer
function Consumer:passed() end

---Everything up to and with this record of its partition is finished.
---@param record sipeat.kafka.Record
---@return true? ok
---@return string? message
---@return string? code
function Consumer:commit(record) end

---Commits what was finished and leaves the group.
---@return true? ok
---@return string? message
---@return string? code
function Consumer:close() end

---Hands each record to handler(record) and commits it, until close or a failure.
---@param handler fun(record: sipeat.kafka.Record): any, string?, string?
---@param options sipeat.kafka.RunOptions?
---@return true? ok
---@return string? message
---@return string? code
function Consumer:run(handler, options) end

---A member of a consumer group. What was not committed comes again.
---@param options sipeat.kafka.ConsumerOptions
---@return sipeat.kafka.Consumer? consumer
---@return string? message
---@return string? code
function M.consumer(options) end

---All partitions of a topic without a group: nothing is committed, others are not disturbed.
---@param options sipeat.kafka.ReaderOptions
---@return sipeat.kafka.Consumer? reader
---@return string? message
---@return string? code
function M.reader(options) end

---True while a broker answers.
---@return boolean
function M.connected() end

---Records that wait for their acknowledgement.
---@return integer
function M.pending() end

---Milliseconds since 1970-01-01 UTC of "2026-03-01", "2026-03-01T10:00:00Z" or with "+02:00".
---@param text string
---@return integer?
function M.time_ms(text) end

---"beginning", "end" or ms, from any of these or a time as text.
---@param from string|integer
---@return string|integer? at
---@return string? message
---@return string? code
function M.start_at(from) end

---@class sipeat.kafka.CreateTopicOptions
---@field name string
---@field partitions? integer default 0: the broker's own
---@field replication? integer default 0: the broker's own
---@field config? table<string, string|number|boolean> such as ["retention.ms"]

---@class sipeat.kafka.ResetGroupOptions
---@field group string
---@field topic string
---@field to string|integer "beginning", "end", "offset:42", a time or ms
---@field dry_run? boolean default false: only tells what it would do

---@class sipeat.kafka.Partition
---@field id integer
---@field leader integer? nil: none
---@field replicas integer
---@field in_sync integer
---@field low integer? first offset
---@field high integer? offset of the next record

---@class sipeat.kafka.Topic
---@field name string
---@field partitions sipeat.kafka.Partition[]

---@class sipeat.kafka.GroupOffset
---@field topic string
---@field partition integer
---@field committed integer? nil: none
---@field low integer?
---@field high integer?
---@field lag integer records that are not finished
---@field target integer? of a dry run: where a reset would move it

---@class sipeat.kafka.Group
---@field name string
---@field state string "Stable", "Empty", "Dead"…; "unknown" on an embedded broker
---@field members integer
---@field offsets sipeat.kafka.GroupOffset[]?

---@class sipeat.kafka.Setting
---@field name string
---@field value string? nil: not told, such as a password
---@field source "topic"|"broker"|"default"|"other"
---@field default boolean
---@field read_only boolean
---@field sensitive boolean

---@class sipeat.kafka.Member
---@field id string
---@field client_id string
---@field host string
---@field partitions { topic: string, partition: integer }[]

---@class sipeat.kafka.Broker
---@field id integer
---@field host string
---@field port integer
---@field leaders integer partitions that it leads
---@field replicas integer partitions that it has

---@class sipeat.kafka.Cluster
---@field id string
---@field controller integer?
---@field embedded boolean
---@field brokers sipeat.kafka.Broker[]

---@class sipeat.kafka.Admin
local Admin = {}

---@param options sipeat.kafka.CreateTopicOptions|string
---@return { name: string, partitions: integer }? topic
---@return string? message
---@return string? code such as "TOPIC_ALREADY_EXISTS"
function Admin:create_topic(options) end

---@param name string
---@return true? ok
---@return string? message
---@return string? code
function Admin:delete_topic(name) end

---@return sipeat.kafka.Topic[]? topics
---@return string? message
---@return string? code
function Admin:topics() end

---@param name string
---@return sipeat.kafka.Topic? topic
---@return string? message
---@return string? code
function Admin:describe_topic(name) end

---All topics with low and high of each partition.
---@return sipeat.kafka.Topic[]? topics
---@return string? message
---@return string? code
function Admin:describe_topics() end

---A topic, low being the first offset from that time on; nil where there is none.
---@param name string
---@param time string|integer
---@return sipeat.kafka.Topic? topic
---@return string? message
---@return string? code "_UNSUPPORTED_FEATURE" on an embedded broker
function Admin:offsets_at(name, time) end

---@param name string
---@return sipeat.kafka.Setting[]? settings
---@return string? message
---@return string? code "_UNSUPPORTED_FEATURE" on an embedded broker
function Admin:topic_configuration(name) end

---@param id integer
---@return sipeat.kafka.Setting[]? settings
---@return string? message
---@return string? code
function Admin:broker_configuration(id) end

---@return sipeat.kafka.Cluster? cluster
---@return string? message
---@return string? code
function Admin:cluster() end

---@return sipeat.kafka.Group[]? groups
---@return string? message
---@return string? code
function Admin:groups() end

---All groups, or those of the list, with their offsets.
---@param names string[]?
---@return sipeat.kafka.Group[]? groups
---@return string? message
---@return string? code
function Admin:describe_groups(names) end

---@param group string
---@return { protocol: string, members: sipeat.kafka.Member[] }? members
---@return string? message
---@return string? code "_UNSUPPORTED_FEATURE" on an embedded broker
function Admin:members(group) end

---@param name string
---@return sipeat.kafka.Group? group
---@return string? message
---@return string? code
function Admin:describe_group(name) end

---Moves a group that has no running members.
---@param options sipeat.kafka.ResetGroupOptions
---@return { offsets: sipeat.kafka.GroupOffset[] }? moved
---@return string? message
---@return string? code
function Admin:reset_group(options) end

---Topics and groups of the cluster.
---@return sipeat.kafka.Admin
function M.admin() end

return M
