--- The pages and the API of SipEat.
local api = require "web.api"
local api_page = require "web.api_page"
local assets = require "web.assets"
local confirmation = require "web.confirmation"
local contact = require "web.contact"
local machines = require "web.machines"
local produce = require "web.produce"
local request = require "web.request"
local settings = require "flows.settings"

local M = {}

--- Adds their routes.
function M.mount()
  settings.web_patience() -- a setting that is wrong is said while the script loads
  settings.submissions_keep_ms()
  local parts = {
    assets, contact, request, confirmation, machines, api, produce, api_page,
  }
  for _, part in ipairs(parts) do
    part.routes()
  end
end

return M
