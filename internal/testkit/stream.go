package testkit

// optionListener makes a script one of a stream: it names the listener that the
// client connects to, and nothing is read or shown as HTTP.
const optionListener = "listener"

// serveStream notes all that comes on a connection of a stream. Once something
// has, it answers as the script says; without a script it sends everything back.
func (c *upstreamConn) serveStream() {
	if c.more() != nil {
		return
	}
	parts, sp := c.server.next()
	if c.answer(parts, sp, false) {
		c.drain(false)
	}
}

// isStream reports whether the script is one of a stream.
func (s *script) isStream() bool { return s.has(optionListener) }

// listener returns the name of the listener that the client connects to.
func (s *script) listener() string {
	switch {
	case s.isStream():
		return s.options[optionListener]
	case s.speaksTLS():
		return "https"
	}
	return "http"
}

// speaksTLS reports whether the client does.
func (s *script) speaksTLS() bool { return s.has("tls") || s.has("sni") }

// shown returns what the client got as it stands in a reply.
func (s *script) shown(got []byte) []byte {
	if s.isStream() {
		return got
	}
	return canonical(got)
}
