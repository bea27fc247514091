// Package l4 is what the edge knows of a connection: who is at its other end,
// where it came in, and how to look at it without consuming a byte. Whoever
// takes a Conn owns its close.
package l4
