-- Called by wrk when it is done: one line of exact figures, so that none has
-- to be read from rounded text. Times are in microseconds. It costs nothing
-- per request, as it defines neither request nor response.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nreport {"requests":%d,"bytes":%d,"duration":%d,"p50":%d,"p99":%d,"max":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.timeout, e.status))
end
