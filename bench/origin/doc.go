// Package origin is a small HTTP/1.1 server with fixed answers, chosen by the
// path, that stands behind Bulwark in the quick start, in examples and in
// benchmarks.
//
//	/                 a short greeting
//	/size/N           N bytes with a Content-Length; N takes the suffixes k and m
//	/chunked/N        the same bytes with chunked coding
//	/delay/DURATION   a short answer after DURATION, such as 250ms
//	/status/CODE      an answer with that status, 200 to 599
//	/echo             the request as it arrived, as JSON or, if asked for, as text
//
// It speaks cleartext only and is not meant to face the internet.
package origin
