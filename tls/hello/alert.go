package hello

// AlertUnrecognizedName are the bytes that refuse a hello whose server name we
// do not know: a record with the fatal alert unrecognized_name (RFC 6066 section
// 3, RFC 8446 section 6). After it the connection is closed.
const AlertUnrecognizedName = "\x15\x03\x03\x00\x02\x02\x70"
