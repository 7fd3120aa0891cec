--- What the environment and the program's options say of its HTTP server, as http.listen takes it.
local env = require "sipeat.env"

--- `o` has tls_cert and tls_key, where they are set.
return function(o)
  local proxies = {}
  for network in env.get("SIPEAT_PROXY", ""):gmatch "[^,%s]+" do
    proxies[#proxies + 1] = network
  end
  return {
    tls_cert = o.tls_cert ~= "" and o.tls_cert or nil,
    tls_key = o.tls_key ~= "" and o.tls_key or nil,
    max_head_bytes = env.get "SIPEAT_HTTP_HEAD",
    rate = env.get "SIPEAT_HTTP_RATE",
    proxies = proxies,
  }
end
