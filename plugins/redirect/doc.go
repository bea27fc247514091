// Package redirect is the plugin redirect: it sends clients to another URL.
//
// # How it works
//
// The answer is built once: the configured status, the location, and the text
// "redirecting". With keep_incoming_path the path and the query of the request,
// as the client sent them, take the place of those of the location, whose scheme,
// host, port and fragment are kept; scheme and host are then written in lower
// case and without the scheme's own port.
//
// # Limits
//
// A status below 200 is refused, because such an answer never ends a request.
package redirect
