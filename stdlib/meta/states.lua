---@meta sipeat.states
error "sipeat.states: this file describes the module to an editor; it is not run"

---Declared state machines; see docs/states.md.
---@class sipeat.states
local M = {}

---@class sipeat.states.DefineOptions
---@field initial string
---@field final string[] states in which things end; they have no transitions
---@field transitions table<string, (string|table)[]> what may follow each state

---@class sipeat.states.Refusal
---@field machine string
---@field from string
---@field to string
---@field allowed string[] what may follow `from`

---@class sipeat.StateMachine
---@field name string
---@field initial string
---@field states string[] all of them
local Machine = {}

---@param from string
---@param to string
---@param context any what guards are asked with
---@return true? ok
---@return string? message
---@return string? code "UNKNOWN_STATE", "FINAL_STATE", "ILLEGAL_TRANSITION" or "GUARD_REFUSED"
---@return sipeat.states.Refusal? refusal
function Machine:check(from, to, context) end

---@param from string
---@return string[]
function Machine:allowed(from) end

---@param state string
---@return boolean
function Machine:is_final(state) end

---@param state string
---@return boolean
function Machine:has(state) end

---@param from string
---@param to string
---@return string? name of the transition, when it was declared with one
function Machine:transition(from, to) end

---@return { from: string, to: string, legal: boolean, guarded: boolean }[]
function Machine:pairs() end

---@return string text of a Mermaid state diagram
function Machine:mermaid() end

---@return string text for Graphviz
function Machine:dot() end

---@class sipeat.states.KeepOptions
---@field table? string default "states"; its history is in `<table>_history`

---@class sipeat.states.MoveOptions
---@field context? any what guards are asked with
---@field from? string refuse with "STATE_MOVED" unless it is in this state
---@field key? string a move with the same key happens once
---@field by? string who moves it, for the history
---@field note? string for the history
---@field tx? sipeat.sql.Tx the caller's transaction

---@class sipeat.states.StartOptions
---@field by? string
---@field note? string
---@field tx? sipeat.sql.Tx

---@class sipeat.states.Row
---@field id string
---@field state string
---@field revision integer
---@field changed_at string
---@field again? boolean the move with this key was made before

---@class sipeat.StatesKept
local Kept = {}

---@param id string
---@param options sipeat.states.StartOptions?
---@return sipeat.states.Row?
---@return string? message
---@return string? code
function Kept:start(id, options) end

---@param id string
---@return sipeat.states.Row?
---@return string? message
---@return string? code "NOT_FOUND" or one of sipeat.sql
function Kept:get(id) end

---@param id string
---@return table[]? rows { revision, from_state, to_state, move_key, moved_by, note, at }
---@return string? message
---@return string? code
function Kept:history(id) end

---@param id string
---@param to string
---@param options sipeat.states.MoveOptions?
---@return sipeat.states.Row?
---@return string? message
---@return string? code
---@return sipeat.states.Refusal? refusal
function Kept:move(id, to, options) end

---@param db sipeat.sql.Db
---@param options sipeat.states.KeepOptions?
---@return sipeat.StatesKept?
---@return string? message
---@return string? code
function Machine:keep(db, options) end

---@param name string
---@param options sipeat.states.DefineOptions
---@return sipeat.StateMachine
function M.define(name, options) end

---@param value any
---@return boolean
function M.is_machine(value) end

return M
