--- Does not load, for flow_test.lua.
error("on purpose")
