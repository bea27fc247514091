package l7

import "errors"

// Side says whose doing an error was.
type Side uint8

// The sides of an exchange.
const (
	SideSelf Side = iota
	SideClient
	SideUpstream
)

// Error ends an exchange: what the client is told, what the log is told, and
// whether another try may help.
type Error struct {
	Status    int    // the answer's status; 499 answers nothing
	Message   string // the answer's message, in Kong's words
	Reason    Reason
	Side      Side
	Retryable bool  // nothing of the request has reached a server that may have acted on it
	Err       error // the cause, for the log; may be nil

	Reply *Reply // the answer in place of Status and Message; may be nil
}

// Error returns the reason's code, the message and the cause.
func (e *Error) Error() string {
	s := e.Reason.String() + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// asError finds the Error in err, or makes an internal one of it.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Status: 500, Message: "An unexpected error occurred", Reason: ReasonInternal, Side: SideSelf, Err: err}
}
