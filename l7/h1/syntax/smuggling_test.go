package syntax

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

type badHead struct {
	name string
	head string
	want fault
}

// badRequests are heads that must not get in, by family.
func badRequests() []badHead {
	return []badHead{
		// Content-Length against Transfer-Encoding.
		{"CL.TE", post("Content-Length: 6", "Transfer-Encoding: chunked"), faultLengthAndEncoding},
		{"TE.CL", post("Transfer-Encoding: chunked", "Content-Length: 6"), faultLengthAndEncoding},
		{"CL 0 and TE", post("Content-Length: 0", "Transfer-Encoding: chunked"), faultLengthAndEncoding},
		{"CL and unknown TE", post("Content-Length: 6", "Transfer-Encoding: xchunked"), faultEncodingUnknown},
		{"TE with 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", faultEncodingHTTP10},

		// Transfer-Encoding in disguise.
		{"TE twice", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), faultEncodingTwice},
		{"TE twice, unlike", post("Transfer-Encoding: chunked", "Transfer-encoding: identity"), faultEncodingTwice},
		{"TE unknown first", post("Transfer-Encoding: x", "Transfer-Encoding: chunked"), faultEncodingUnknown},
		{"TE list", post("Transfer-Encoding: gzip, chunked"), faultEncoding},
		{"TE chunked twice in a list", post("Transfer-Encoding: chunked, chunked"), faultEncoding},
		{"TE chunked not last", post("Transfer-Encoding: chunked, identity"), faultEncoding},
		{"TE list of one", post("Transfer-Encoding: chunked,"), faultEncoding},
		{"TE empty", post("Transfer-Encoding:"), faultEncoding},
		{"TE quoted", post(`Transfer-Encoding: "chunked"`), faultEncoding},
		{"TE in apostrophes", post("Transfer-Encoding: 'chunked'"), faultEncodingUnknown},
		{"TE with parameter", post("Transfer-Encoding: chunked;q=1"), faultEncoding},
		{"TE of two words", post("Transfer-Encoding: chunked chunked"), faultEncoding},
		{"TE cow", post("Transfer-Encoding: cow"), faultEncodingUnknown},
		{"TE identity", post("Transfer-Encoding: identity"), faultEncodingUnknown},
		{"TE gzip", post("Transfer-Encoding: gzip"), faultEncodingUnknown},
		{"TE xchunked", post("Transfer-Encoding: xchunked"), faultEncodingUnknown},
		{"TE with vertical tab", post("Transfer-Encoding: \vchunked"), faultControl},
		{"TE with form feed", post("Transfer-Encoding: chunked\f"), faultControl},
		{"TE with NUL", post("Transfer-Encoding: chunked\x00"), faultControl},
		{"TE with no-break space", post("Transfer-Encoding: \xa0chunked"), faultEncoding},
		{"TE with long s", post("Transfer-Encoding: chun\u212aed"), faultEncoding},
		{"TE space before colon", post("Transfer-Encoding : chunked"), faultSpaceBeforeColon},
		{"TE tab before colon", post("Transfer-Encoding\t: chunked"), faultSpaceBeforeColon},
		{"TE no-break space before colon", post("Transfer-Encoding\xa0: chunked"), faultFieldName},
		{"TE folded", post("Transfer-Encoding:\r\n chunked"), faultEncoding}, // of its first, empty line
		{"TE folded behind chunked", post("Transfer-Encoding: chunked\r\n x"), faultFold},
		{"TE behind a space", post(" Transfer-Encoding: chunked"), faultFold},
		{"TE behind bare CR", post("X: 1\rTransfer-Encoding: chunked"), faultBareCR},
		{"TE behind bare LF", post("X: 1\nTransfer-Encoding: chunked"), faultBareLF},
		{"TE behind LF CR", post("X: 1\n\rTransfer-Encoding: chunked"), faultBareLF},
		{"TE behind CR CR LF", post("X: 1\r\r\nTransfer-Encoding: chunked"), faultBareCR},
		{"TE behind NUL", post("\x00Transfer-Encoding: chunked"), faultFieldName},

		// Content-Length, odd.
		{"CL twice, alike", post("Content-Length: 6", "Content-Length: 6"), faultLengthTwice},
		{"CL twice, unlike", post("Content-Length: 6", "Content-Length: 5"), faultLengthTwice},
		{"CL list, alike", post("Content-Length: 6, 6"), faultLength},
		{"CL list, unlike", post("Content-Length: 6, 5"), faultLength},
		{"CL list of one", post("Content-Length: 6,"), faultLength},
		{"CL plus", post("Content-Length: +6"), faultLength},
		{"CL minus", post("Content-Length: -6"), faultLength},
		{"CL minus zero", post("Content-Length: -0"), faultLength},
		{"CL hexadecimal", post("Content-Length: 0x6"), faultLength},
		{"CL hexadecimal digit", post("Content-Length: a"), faultLength},
		{"CL octal", post("Content-Length: 0o6"), faultLength},
		{"CL underscore", post("Content-Length: 1_0"), faultLength},
		{"CL with space", post("Content-Length: 1 0"), faultLength},
		{"CL fraction", post("Content-Length: 6.0"), faultLength},
		{"CL exponent", post("Content-Length: 1e1"), faultLength},
		{"CL quoted", post(`Content-Length: "6"`), faultLength},
		{"CL empty", post("Content-Length:"), faultLength},
		{"CL of white space", post("Content-Length: \t "), faultLength},
		{"CL 2^63", post("Content-Length: 9223372036854775808"), faultLength},
		{"CL 2^64+6", post("Content-Length: 18446744073709551622"), faultLength},
		{"CL of many digits", post("Content-Length: 99999999999999999999999999999999999"), faultLength},
		{"CL with full-width digit", post("Content-Length: \uff16"), faultLength},
		{"CL space before colon", post("Content-Length : 6"), faultSpaceBeforeColon},
		{"CL folded", post("Content-Length: 6\r\n 0"), faultFold},
		{"CL with vertical tab", post("Content-Length: \v6"), faultControl},

		// Line ends.
		{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", faultBareLF},
		{"bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", faultBareLF},
		{"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", faultBareLF},
		{"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", faultBareLF},
		{"bare CR after the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", faultVersion},
		{"bare CR in a value", withField("X: a\rb"), faultBareCR},
		{"bare CR in a name", withField("X\rY: b"), faultFieldName},
		{"leading LF", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", faultBareLF},
		{"leading CR CR LF", "\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"leading space", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"leading empty lines", strings.Repeat("\r\n", 5) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n", faultLeadingLines},

		// Request line.
		{"no method", "/ HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"method with slash", "GE/T / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"method with DEL", "GET\x7f / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"method with NUL", "GET\x00 / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"method in other letters", "G\u00c9T / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"method too long", strings.Repeat("M", 33) + " / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"two spaces before target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", faultTarget},
		{"two spaces behind target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", faultVersion},
		{"tab before target", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod},
		{"tab behind target", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", faultTarget},
		{"space at the line's end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", faultVersion},
		{"space in the target", atTarget("/a b"), faultVersion},
		{"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", faultTarget},
		{"empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", faultTarget},
		{"0.9", "GET /\r\n\r\n", faultNoVersion},
		{"0.9 with fields", "GET /\r\nHost: a\r\n\r\n", faultNoVersion},
		{"0.9 with space", "GET / \r\n\r\n", faultVersion},
		{"version 0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", faultVersion},
		{"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", faultVersionUnknown},
		{"version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", faultVersionUnknown},
		{"version 3.0", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", faultVersionUnknown},
		{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", faultAsterisk},
		{"version 1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", faultVersion},
		{"version 11.1", "GET / HTTP/11.1\r\nHost: a\r\n\r\n", faultVersion},
		{"version 1.1.1", "GET / HTTP/1.1.1\r\nHost: a\r\n\r\n", faultVersion},
		{"version 01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", faultVersion},
		{"version 1", "GET / HTTP/1\r\nHost: a\r\n\r\n", faultVersion},
		{"version 1,1", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", faultVersion},
		{"version 1.x", "GET / HTTP/1.x\r\nHost: a\r\n\r\n", faultVersion},
		{"version -1.1", "GET / HTTP/-1.1\r\nHost: a\r\n\r\n", faultVersion},
		{"version in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n", faultVersion},
		{"version of another protocol", "GET / ICAP/1.0\r\nHost: a\r\n\r\n", faultVersion},
		{"version and garbage", "GET / HTTP/1.1x\r\nHost: a\r\n\r\n", faultVersion},

		// Target.
		{"target without slash", atTarget("a"), faultTarget},
		{"target query only", atTarget("?a"), faultTarget},
		{"fragment", atTarget("/a#b"), faultTarget},
		{"fragment behind query", atTarget("/a?b#c"), faultTarget},
		{"backslash in path", atTarget(`/a\b`), faultTarget},
		{"NUL in path", atTarget("/a\x00b"), faultTarget},
		{"DEL in path", atTarget("/a\x7fb"), faultTarget},
		{"control byte in query", atTarget("/a?\x01"), faultTarget},
		{"non-ASCII in path", atTarget("/\u00e9"), faultTarget},
		{"non-ASCII in query", atTarget("/?\u00e9"), faultTarget},
		{"bare CR in target", atTarget("/a\rb"), faultNoVersion},
		{"escape cut short", atTarget("/a%4"), faultEscape},
		{"escape without digits", atTarget("/a%zz"), faultEscape},
		{"escape at the end", atTarget("/%"), faultEscape},
		{"escape for wide characters", atTarget("/%u0041"), faultEscape},
		{"asterisk for GET", atTarget("*"), faultAsterisk},
		{"asterisk and more", "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", faultTarget},
		{"asterisk and query", "OPTIONS *?a HTTP/1.1\r\nHost: a\r\n\r\n", faultTarget},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", faultConnect},
		{"CONNECT of a path", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", faultConnect},
		{"CONNECT of nothing", "CONNECT  HTTP/1.1\r\nHost: a\r\n\r\n", faultConnect},
		{"authority form for GET", atTarget("a:80"), faultTarget},

		// Absolute targets.
		{"absolute, other scheme", atTarget("ftp://a/"), faultTarget},
		{"absolute, scheme run on", atTarget("xhttp://a/"), faultTarget},
		{"absolute, one slash", atTarget("http:/a/"), faultTarget},
		{"absolute, no host", atTarget("http:///a"), faultAuthority},
		{"absolute, nothing", atTarget("http://"), faultAuthority},
		{"absolute, port only", atTarget("http://:80/"), faultAuthority},
		{"absolute, empty port", atTarget("http://a:/"), faultAuthority},
		{"absolute, port too great", atTarget("http://a:65536/"), faultAuthority},
		{"absolute, user", atTarget("http://u@a/"), faultUserinfo},
		{"absolute, user and password", atTarget("http://u:p@a/"), faultUserinfo},
		{"absolute, Host as user", "GET http://a:80@b/ HTTP/1.1\r\nHost: a\r\n\r\n", faultUserinfo},
		{"absolute, backslash", atTarget(`http://a\@b/`), faultTarget},
		{"absolute, escaped host", atTarget("http://%61/"), faultAuthority},
		{"absolute, fragment", atTarget("http://a#b"), faultTarget},
		{"absolute, Host differs", atTarget("http://b/"), faultHostDiffers},
		{"absolute, Host is longer", "GET http://a/ HTTP/1.1\r\nHost: a.b\r\n\r\n", faultHostDiffers},
		{"absolute, port differs", atTarget("http://a:8080/"), faultHostDiffers},
		{"absolute, Host has a port", "GET http://a/ HTTP/1.1\r\nHost: a:8080\r\n\r\n", faultHostDiffers},
		{"absolute, other scheme's port", atTarget("http://a:443/"), faultHostDiffers},
		{"absolute https, other scheme's port", atTarget("https://a:80/"), faultHostDiffers},
		{"absolute without Host", "GET http://a/ HTTP/1.1\r\n\r\n", faultHostMissing},
		{"absolute with bad Host", "GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", faultHost},
		{"absolute with two Hosts", "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", faultHostTwice},

		// Host.
		{"no Host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n", faultHostMissing},
		{"no fields", "GET / HTTP/1.1\r\n\r\n", faultHostMissing},
		{"two Hosts, alike", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", faultHostTwice},
		{"two Hosts, unlike", "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", faultHostTwice},
		{"two Hosts with 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", faultHostTwice},
		{"Host space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", faultSpaceBeforeColon},
		{"Host behind a space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", faultFold},
		{"empty Host", atHost(""), faultHost},
		{"empty Host with 1.0", "GET / HTTP/1.0\r\nHost:\r\n\r\n", faultHost},
		{"empty first Host", "GET / HTTP/1.1\r\nHost:\r\nHost: a\r\n\r\n", faultHostTwice},
		{"Host with port only", atHost(":80"), faultHost},
		{"Host with empty port", atHost("a:"), faultHost},
		{"Host with port too great", atHost("a:65536"), faultHost},
		{"Host with long port", atHost("a:000080"), faultHost},
		{"Host with named port", atHost("a:http"), faultHost},
		{"Host with negative port", atHost("a:-1"), faultHost},
		{"Host with two ports", atHost("a:80:80"), faultHost},
		{"Host with user", atHost("u@a"), faultHost},
		{"Host with path", atHost("a/b"), faultHost},
		{"Host with query", atHost("a?b"), faultHost},
		{"Host with fragment", atHost("a#b"), faultHost},
		{"Host with scheme", atHost("http://a"), faultHost},
		{"Host with space", atHost("a b"), faultHost},
		{"Host with backslash", atHost(`a\b`), faultHost},
		{"Host with escape", atHost("%61"), faultHost},
		{"Host with quotes", atHost(`"a"`), faultHost},
		{"Host in other letters", atHost("\u00e9"), faultHost},
		{"Host with NUL", atHost("a\x00b"), faultControl},
		{"Host address without brackets", atHost("::1"), faultHost},
		{"Host address not closed", atHost("[::1"), faultHost},
		{"Host address run on", atHost("[::1]a"), faultHost},
		{"Host address with empty port", atHost("[::1]:"), faultHost},
		{"Host address empty", atHost("[]"), faultHost},
		{"Host address of version 4", atHost("[192.0.2.1]"), faultHost},
		{"Host address with zone", atHost("[fe80::1%25eth0]"), faultHost},
		{"Host address with bare zone", atHost("[fe80::1%eth0]"), faultHost},
		{"Host address of the future", atHost("[v1.a]"), faultHost},
		{"Host address malformed", atHost("[:::]"), faultHost},

		// Field lines.
		{"fold", withField("X: a", " b"), faultFold},
		{"fold with tab", withField("X: a", "\tb"), faultFold},
		{"fold of nothing", withField("X: a", " "), faultFold},
		{"fold behind the request line", "GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n", faultFold},
		{"empty name", withField(": a"), faultFieldName},
		{"no colon", withField("X"), faultFieldName},
		{"space in a name", withField("X Y: a"), faultSpaceBeforeColon},
		{"name with parentheses", withField("X(Y): a"), faultFieldName},
		{"name with quotes", withField(`"X": a`), faultFieldName},
		{"name with slash", withField("X/Y: a"), faultFieldName},
		{"name with NUL", withField("X\x00: a"), faultFieldName},
		{"name with DEL", withField("X\x7f: a"), faultFieldName},
		{"name in other letters", withField("\u00e9: a"), faultFieldName},
		{"value with NUL", withField("X: a\x00b"), faultControl},
		{"value with DEL", withField("X: a\x7fb"), faultControl},
		{"value with escape", withField("X: a\x1bb"), faultControl},
		{"value with backspace at the end", withField("X: a\b"), faultControl},
		{"empty line too early", "GET / HTTP/1.1\r\n\r\nHost: a\r\n\r\n", faultHostMissing},

		// Fields with a meaning.
		{"Connection not a token", withField("Connection: a b"), faultConnection},
		{"Connection quoted", withField(`Connection: "close"`), faultConnection},
		{"Connection with too many options", withField("Connection: " + strings.Repeat("a,", maxConnectionOptions+1)), faultConnectionOptions},
		{"Connection with semicolon", withField("Connection: close; x"), faultConnection},
		{"Expect unknown", withField("Expect: 200-ok"), faultExpect},
		{"Expect list", withField("Expect: 100-continue, x"), faultExpect},
		{"Expect empty", withField("Expect:"), faultExpect},
		{"Expect twice", withField("Expect: 100-continue", "Expect: x"), faultExpect},
	}
}

func TestBadRequests(t *testing.T) {
	for _, tt := range badRequests() {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, f := readRequest(t, []string{tt.head}, &wideLimits); f != tt.want {
				t.Fatalf("got %q, want %q", f, tt.want)
			}
			splits(tt.head, func(pieces []string) {
				if _, _, f := readRequest(t, pieces, &wideLimits); f == faultNone {
					t.Fatalf("split as %q it gets in", pieces)
				}
			})
			// The parser alone must be as strict, whoever found the head's end.
			var r l7.Request
			if tt.want != faultLeadingLines && ParseRequest(tt.head, &wideLimits, &r) == nil {
				t.Fatal("the parser alone lets it in")
			}
		})
	}
}

// TestBadBytes puts every byte that does not belong there into every place of a
// head, in the place of a byte and between two.
func TestBadBytes(t *testing.T) {
	head := "POST /a?b HTTP/1.1\r\nHost: a\r\nX: some words\r\nContent-Length: 10\r\n\r\n"
	for c := range 256 {
		if classes[c]&isValue != 0 {
			continue
		}
		for i := range len(head) {
			for _, bad := range []string{head[:i] + string([]byte{byte(c)}) + head[i:], head[:i] + string([]byte{byte(c)}) + head[i+1:]} {
				if strings.HasPrefix(bad, head) {
					continue // the byte stands behind the head
				}
				r, _, f := readRequest(t, []string{bad}, &wideLimits)
				if f == faultNone && r != nil {
					t.Fatalf("byte %#02x at %d: %q gets in", c, i, bad)
				}
			}
		}
	}
}
