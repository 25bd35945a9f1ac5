-- Errors, closures and coroutines: each pcall, error and yield is a setjmp or longjmp, and so a `try` or a `throw`.
local function deep(n) if n == 0 then error({ code = 7 }) end return 1 + deep(n - 1) end
local caught = 0
for i = 1, 2000 do
  local ok, e = pcall(deep, i % 50)
  if not ok and e.code == 7 then caught = caught + 1 end
end
print("caught", caught)

-- A handler that raises again, through frames of C.
local function again(n)
  local ok, e = pcall(function() if n == 0 then error("bottom", 0) end again(n - 1) end)
  if not ok then error(e .. "<" .. n, 0) end
end
print(select(2, pcall(again, 5)))

-- The stack of Lua overflows inside a protected call, and is whole afterwards.
for _ = 1, 3 do
  local function forever() return 1 + forever() end
  local ok, e = pcall(forever)
  print(ok, (e:gsub("^.-:%d+: ", ""):gsub(" %(.*", "")))
end

-- Coroutines that end with an error, are closed, or yield through pcall.
local co = coroutine.wrap(function() for i = 1, 3 do pcall(coroutine.yield, i) end error("done", 0) end)
for _ = 1, 4 do print(pcall(co)) end
local open = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() print("closed") end }) coroutine.yield(1) end)
print(coroutine.resume(open))
print(coroutine.close(open), coroutine.status(open))
print(pcall(string.rep, "x", -1), pcall(string.rep))
