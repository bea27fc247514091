// Package traffic holds requests for tests of the WAF: ordinary ones, which must
// pass at paranoia level 1, and attacks, which must not.
//
// They stand in the folders ordinary, excluded and attacks, in txtar archives, one
// request a section; a section's name says what it is. Each line of a section is a line
// on the wire, ended by CRLF, and an empty one ends the head. Content has no
// line end after its last line, but for that of multipart/form-data. A line of
// content "hex 89504e47" stands for these bytes. Content-Length is added, or if
// the head says Transfer-Encoding the content is cut into two chunks.
package traffic
