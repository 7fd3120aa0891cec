--- What the file of a hardware test has declared, and what the command line gave it.
return { plan = nil, phases = {}, names = {}, with = {}, parameters = {} }
