--- Cents as people read them.
return function(cents)
  return ("$%d.%02d"):format(cents // 100, cents % 100)
end
