package testkit

import (
	"bytes"
	"regexp"
	"strconv"
)

var chunkedField = regexp.MustCompile(`(?i)\r\nTransfer-Encoding: chunked\r\n`)

// canonical returns a stream of answers with chunked content as one chunk each.
// Content that is not complete is left as it is behind the chunk that has what
// there was of it.
func canonical(stream []byte) []byte {
	var out []byte
	for {
		i := bytes.Index(stream, []byte("\r\n\r\n"))
		if i < 0 {
			return append(out, stream...)
		}
		head := stream[:i+4]
		out, stream = append(out, head...), stream[i+4:]
		if !chunkedField.Match(head) {
			continue
		}
		content, trailer, n, _ := dechunk(stream)
		out = appendOneChunk(out, content, trailer)
		stream = stream[n:]
	}
}

func appendOneChunk(out, content, trailer []byte) []byte {
	if len(content) > 0 {
		out = strconv.AppendInt(out, int64(len(content)), 16)
		out = append(append(append(out, "\r\n"...), content...), "\r\n"...)
	}
	return append(out, trailer...)
}

// dechunk takes the chunked coding off b. trailer is the last chunk, the trailer
// section and the final empty line as they are, n the number of bytes taken.
// What is not a whole chunk is not taken.
func dechunk(b []byte) (content, trailer []byte, n int, done bool) {
	for {
		rest := b[n:]
		i := bytes.Index(rest, []byte("\r\n"))
		if i < 0 {
			return content, nil, n, false
		}
		digits, _, _ := bytes.Cut(rest[:i], []byte(";"))
		size, err := strconv.ParseUint(string(digits), 16, 31)
		if err != nil {
			return content, nil, n, false
		}
		if size == 0 {
			return endOfChunks(b, content, n, i)
		}
		end := i + 2 + int(size) + 2
		if len(rest) < end || string(rest[end-2:end]) != "\r\n" {
			return content, nil, n, false
		}
		content = append(content, rest[i+2:end-2]...)
		n += end
	}
}

// endOfChunks takes the last chunk, whose size line is i bytes long, and what
// follows it.
func endOfChunks(b, content []byte, n, i int) (_, trailer []byte, _ int, done bool) {
	rest := b[n:]
	if bytes.HasPrefix(rest[i:], []byte("\r\n\r\n")) {
		return content, rest[:i+4], n + i + 4, true
	}
	end := bytes.Index(rest, []byte("\r\n\r\n"))
	if end < 0 {
		return content, nil, n, false
	}
	return content, rest[:end+4], n + end + 4, true
}
