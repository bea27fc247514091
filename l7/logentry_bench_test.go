package l7

import (
	"net/netip"
	"testing"
)

// benchedExchange is an exchange as one with five plugins ends: fields that
// nginx answers with, our own, and a log value.
func benchedExchange(tb testing.TB, target string, fields ...string) *Exchange {
	tb.Helper()
	f := newFixture(tb, nil)
	f.Policy = NewHeaderPolicy("bulwark/1.0.0", []string{"server_tokens", "latency_tokens", "X-Kong-Request-Id"}, nil)
	f.upstream.forward = func(x *Exchange) error {
		try := x.AddTry(netip.MustParseAddrPort("127.0.0.1:18081"), x.started)
		try.Status, try.Latency = 200, 1234
		x.Resp.Status, x.Resp.Size, x.Proxied, x.Sent = 200, 128, true, 128
		for _, line := range [][2]string{
			{"Server", "nginx/1.22.1"},
			{"Date", "Sat, 21 Nov 2026 14:48:38 GMT"},
			{"Content-Type", "application/octet-stream"},
			{"Content-Length", "128"},
			{"Connection", "keep-alive"},
		} {
			x.Resp.Header.Add(line[0], line[1])
		}
		x.AddLogValue("correlation_id", "4956eaf4-2118-48c3-929b-8c023e855589#71453")
		_, err := x.SendHead()
		return err
	}
	x, _ := request(tb, "GET", target, fields...)
	x.Req.Authority = "shop.test:8000" // in upper case it is another allocation
	f.Serve(x)
	return x
}

func BenchmarkLogEntry(b *testing.B) {
	browser := []string{
		"Connection: keep-alive",
		`sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"`,
		"sec-ch-ua-mobile: ?0",
		`sec-ch-ua-platform: "Linux"`,
		"Upgrade-Insecure-Requests: 1",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
		"Sec-Fetch-Site: none",
		"Sec-Fetch-Mode: navigate",
		"Sec-Fetch-User: ?1",
		"Sec-Fetch-Dest: document",
		"Accept-Encoding: gzip, deflate, br, zstd",
		"Accept-Language: en-GB,en;q=0.9",
		"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes",
	}
	for name, x := range map[string]*Exchange{
		"wrk":     benchedExchange(b, "/shop"),
		"browser": benchedExchange(b, "/shop/cart?item=4711&amount=2&back=%2Fshop%2Flist", browser...),
	} {
		b.Run(name, func(b *testing.B) {
			line := make([]byte, 0, 16<<10)
			b.ReportAllocs()
			for b.Loop() {
				line = x.AppendLogEntry(line[:0])
			}
			b.SetBytes(int64(len(line)))
		})
	}
}

// BenchmarkLogLines is what two logs of one exchange cost.
func BenchmarkLogLines(b *testing.B) {
	x := benchedExchange(b, "/shop")
	var sum int
	b.ReportAllocs()
	for b.Loop() {
		x.line = nil
		sum += len(x.LogLine()) + len(x.LogLine())
	}
	if sum == 0 {
		b.Error("no lines")
	}
}
