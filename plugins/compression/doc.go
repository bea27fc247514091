// Package compression is the plugin compression: it compresses the content of
// answers for clients that can decode it.
//
// # How it works
//
// The client's Accept-Encoding decides (RFC 9110 section 12.5.3): the coding it
// likes best of those in algorithms, and among those it likes equally the one
// that stands first there. A client that does not name a coding gets none, and
// so does one that likes identity better.
//
// An answer is compressed if its type is one of content_types and it is not
// shorter than min_length; an answer whose length is not known counts as long
// enough. Answers that are encoded already, parts (206), answers to HEAD, and
// those that have Cache-Control: no-transform, in the answer or in the request,
// are left alone.
//
// A compressed answer has Content-Encoding, and no Content-Length; a strong ETag
// becomes a weak one, since the bytes are others; Accept-Ranges, Content-MD5,
// Digest and Content-Digest are removed. Every answer that would be compressed
// for some client has Accept-Encoding in Vary, compressed or not, so that caches
// behind Bulwark keep both. Answers to HEAD and 304 get Vary and the weak ETag
// too; a 304 without a type counts as one of content_types.
//
// Streams stay live: what the upstream has sent so far is passed on, compressed,
// before Bulwark waits for more. The plugin runs last, so that other plugins see
// content as it is, and proxy-cache stores it uncompressed.
//
// # Security
//
// Compressing secrets and text of an attacker's choice into one answer lets the
// length of that answer tell the secret (BREACH). Pages that reflect input and
// hold secrets, such as tokens against request forgery, should not be
// compressed, should mask the secret anew each time, or should be served from a
// route where this plugin is not enabled.
//
// # Limits
//
// The encoders in use take at most 512 MiB, all instances together; answers for
// which there is no room go uncompressed. One takes 1 to 6 MiB: zstd 1, 3 and 6
// by level, br 1 up to level 1 and 6 above, gzip 1.5. Requests are not decoded.
package compression
