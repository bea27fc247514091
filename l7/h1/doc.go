// Package h1 is the HTTP/1.1 server engine (RFC 9112): it takes heads off a
// connection, serves each as an exchange, and frames the answers.
//
// A connection is one goroutine. While it waits for a request it holds no
// buffer; while it waits for the upstream it holds none but unread input.
package h1
