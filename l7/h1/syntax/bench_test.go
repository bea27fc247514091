package syntax

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

// smallHead is what a load generator sends, browserHead what a browser sends.
const (
	smallHead = "GET /api/v1/items?page=2 HTTP/1.1\r\n" +
		"Host: 127.0.0.1:8000\r\n" +
		"User-Agent: wrk/4.1.0\r\n" +
		"Accept: */*\r\n\r\n"
	browserHead = "GET /shop/catalogue/garden?sort=price&page=3 HTTP/1.1\r\n" +
		"Host: www.example.com\r\n" +
		"Connection: keep-alive\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
		"Cache-Control: max-age=0\r\n" +
		"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=all\r\n" +
		"Referer: https://www.example.com/shop/catalogue\r\n" +
		"Sec-Fetch-Mode: navigate\r\n" +
		"Upgrade-Insecure-Requests: 1\r\n\r\n"
	answerHead = "HTTP/1.1 200 OK\r\n" +
		"Server: nginx/1.26.3\r\n" +
		"Date: Fri, 21 Nov 2025 08:49:37 GMT\r\n" +
		"Content-Type: text/html; charset=utf-8\r\n" +
		"Content-Length: 612\r\n" +
		"Connection: keep-alive\r\n" +
		"ETag: \"6745a1b2-264\"\r\n" +
		"Accept-Ranges: bytes\r\n\r\n"
)

// wideLimits are the limits of every test that is not about limits.
var wideLimits = Limits{
	HeadBytes: 16 << 10, TargetBytes: 8 << 10, Fields: 100, ChunkExtensionBytes: 64, TrailerBytes: 2 << 10,
}

func BenchmarkParseRequest(b *testing.B) {
	for _, bench := range []struct{ name, head string }{
		{"small", smallHead},
		{"browser", browserHead},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var r l7.Request
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.head)))
			for b.Loop() {
				if err := ParseRequest(bench.head, &wideLimits, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseResponse(b *testing.B) {
	var (
		resp l7.Response
		f    Framing
	)
	b.ReportAllocs()
	b.SetBytes(int64(len(answerHead)))
	for b.Loop() {
		if err := ParseResponse(answerHead, "GET", &wideLimits, &resp, &f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFindHead(b *testing.B) {
	for _, bench := range []struct{ name, head string }{
		{"small", smallHead},
		{"browser", browserHead},
	} {
		b.Run(bench.name, func(b *testing.B) {
			buf := []byte(bench.head)
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if _, end, err := FindRequestHead(buf, 0, &wideLimits); end != len(buf) || err != nil {
					b.Fatal(end, err)
				}
			}
		})
	}
}

func BenchmarkChunkDecoder(b *testing.B) {
	for _, bench := range []struct {
		name string
		body string
	}{
		{"16x64", strings.Repeat("40\r\n"+strings.Repeat("x", 64)+"\r\n", 16) + "0\r\n\r\n"},
		{"1x16384", "4000\r\n" + strings.Repeat("x", 16<<10) + "\r\n0\r\n\r\n"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var d ChunkDecoder
			buf := []byte(bench.body)
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				d.Reset(l7.SideClient, &wideLimits)
				for rest := buf; !d.Done(); {
					_, n, err := d.Next(rest)
					if err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendStatusLine(buf[:0], 200)
		buf = AppendField(buf, "Content-Type", "text/html; charset=utf-8")
		buf = AppendContentLength(buf, 612)
	}
}
