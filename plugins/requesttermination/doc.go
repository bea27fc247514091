// Package requesttermination is the plugin request-termination: it answers
// requests itself, with a fixed status and message or body.
//
// # How it works
//
// The answer is built once. With trigger, only requests that carry a header
// field or a query argument of that name are answered; the others pass. With
// echo the answer tells the request as it was received and what it matched,
// for debugging.
//
// # Limits
//
// An echo does not contain the request's content.
package requesttermination
