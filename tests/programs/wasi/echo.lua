-- For wrk: an answer sent as the request, so that what the echo server returns is an answer. wrk checks the first request.
local first = true
request = function()
  if first then first = false return "GET / HTTP/1.1\r\nHost: x\r\n\r\n" end
  return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
end
