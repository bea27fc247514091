// Package crs runs the regression suite of the Core Rule Set against a server
// that inspects what it forwards.
//
// Load reads the suite as the rule set's module carries it: files of YAML in the
// format of ftw-tests-schema. What this package does not know in such a file is
// an error, so that a newer suite cannot be run by halves.
//
// A Runner sends each stage on a connection of its own, byte for byte as the
// suite's own tool does, and each from another address of 127.0.0.0/8. That
// address stands in every line that ModSecurity's error log would have of the
// request, and so tells which lines belong to which stage: no request carries a
// mark of ours, and many are under way at once. Lines lets the log be read when
// everything has been sent, so nothing waits for a log and nothing is sent
// twice; the suite's retry_once, which is there for such waits, has no meaning
// here.
//
// Reflector is the server behind: it answers as the request's content asks.
package crs
