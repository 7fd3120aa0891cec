--- The pages and the API of SipEat.
local api = require "web.api"
local api_page = require "web.api_page"
local assets = require "web.assets"
local contact = require "web.contact"
local machines = require "web.machines"
local produce = require "web.produce"
local request = require "web.request"

local M = {}

--- Adds their routes.
function M.mount()
  for _, part in ipairs { assets, contact, request, machines, api, produce, api_page } do
    part.routes()
  end
end

return M
