-- wrk_report.lua - wrk's result as one line of JSON, and pipelining
--     wrk -t1 -c64 -d2s -s wrk_report.lua http://127.0.0.1:8080/plaintext -- 16

-- wrk builds its fixed request by wrk.format() right after init(). Replacing that function, rather than defining
-- request(), keeps wrk from calling Lua for every batch, which would make wrk itself the bottleneck.
function init(args)
    local depth = tonumber(args[1] or 1)
    local batch = string.rep(wrk.format(), depth)
    wrk.format = function() return batch end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format('{"n": %d, "s": %.6f, "errs": %d, "non200": %d, "p50": %d, "p99": %d, "p999": %d, "max": %d}\n',
        summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.timeout, e.status,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
