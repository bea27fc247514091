package syntax

// Limits bounds what a peer can make us hold and scan. Every field must be
// positive; the bounds themselves still pass.
type Limits struct {
	HeadBytes           int // start line, fields and the final empty line
	TargetBytes         int // the request target
	Fields              int // field lines of a head, and of a trailer section
	ChunkExtensionBytes int // the extensions of one chunk; a whole body may have extensionBudget times that
	TrailerBytes        int // the field lines of a trailer section
}

const (
	// MaxMethodBytes bounds the method. The longest registered one has 17.
	MaxMethodBytes = 32

	// maxLeadingBytes bounds the empty lines that are skipped in front of a
	// request (RFC 9112 section 2.2): four of them.
	maxLeadingBytes = 8

	// extensionBudget is how many times Limits.ChunkExtensionBytes the
	// extensions of all chunks of one body may take together. Extensions carry
	// no content, so that without a bound a body could go on for ever in them.
	extensionBudget = 16

	// maxConnectionOptions bounds the elements of all Connection fields of a
	// head, since each is compared with every field.
	maxConnectionOptions = 32

	// maxChunkDigits bounds the digits of a chunk size, leading zeros included.
	maxChunkDigits = 16

	// maxChunkSize bounds a chunk, so that sums of sizes fit in 63 bits.
	maxChunkSize = 1 << 62
)

// lineBytes is the length of the longest request line that can be accepted,
// with its CRLF.
func (l *Limits) lineBytes() int {
	return MaxMethodBytes + len(" ") + l.TargetBytes + len(" HTTP/1.1\r\n")
}
