package l7

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/bulwark-edge/bulwark/config"
)

// Certified is the word of a plugin that has recognised a client by its
// certificate. It is immutable.
type Certified struct {
	Kind     string              // the plugin's name
	Chain    []*x509.Certificate // leaf first, not empty
	Consumer config.ID           // who the client is; the zero value: whoever has the certificate
	LogName  string              // what logs tell the verdict under; "": as that of the connection's certificate
}

// Uncertified is why an exchange was ended by what became of a certificate.
type Uncertified struct {
	LogName string // Certified.LogName; "": the connection's certificate
	Verify  string // what is told under it
	Err     error  // never nil
}

// Error returns the text of what is behind it.
func (u *Uncertified) Error() string { return u.Err.Error() }

// Unwrap returns what is behind it.
func (u *Uncertified) Unwrap() error { return u.Err }

// Uncertify lets logs tell why the exchange was ended by a Standing.
func (x *Exchange) Uncertify(why error) {
	u, ok := errors.AsType[*Uncertified](why)
	switch {
	case !ok:
		return
	case u.LogName == "":
		x.SetClientVerify(u.Verify)
		return
	}
	x.logValues = slices.DeleteFunc(x.logValues, func(f Field) bool { return f.Name == u.LogName })
	x.AddLogValue(u.LogName, u.Verify)
}

// Certifier is a plugin that recognises clients by their certificates, and says so
// by AddCertified.
type Certifier interface {
	// Recertify says what has become of the word of a plugin of the same kind, under
	// another configuration perhaps. The error is why the client would not be let in.
	// With wait servers may be asked for as long as the plugin's configuration says,
	// or ctx; an error after the end of ctx says nothing. Nothing is known where too
	// many servers are being asked. Any goroutine may call it.
	Recertify(ctx context.Context, cfg *config.Config, c *Certified, wait bool) (Recertified, error)
}

// Recertified is what a Certifier says.
type Recertified struct {
	Known bool      // false: servers would have to be asked, and nothing else is told
	Same  bool      // the client would be let in as the one it was; else another plugin may do so
	Until time.Time // when it is to be asked again at the latest
}

// AddCertified notes that a plugin has recognised the client by its certificate.
func (x *Exchange) AddCertified(c Certified) {
	s := x.lasting.in
	if s != nil {
		s.mu.Lock()
		if x.lasting.leave == nil {
			x.certified = append(x.certified, c)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		x.leaveLasting() // it was taken over without this
	}
	x.certified = append(x.certified, c)
	if x.lasting.why == nil {
		x.enterLasting()
	}
}

// Standing looks after tunnels that go on by a client's certificate.
type Standing interface {
	// Watch is told of an exchange that may last. When its client would not be let in
	// any more, end is called, once at most and by any goroutine, with why; it must
	// not wait. It is not called any more when unwatch has returned. The exchange is
	// not kept.
	Watch(x *Exchange, end func(why error)) (unwatch func())
}

// Watch lets the exchange be ended by end when its client's certificate counts no
// longer, in place of breaking it off. unwatch is called before the exchange ends. An
// exchange that stands on no certificate costs nothing. The error is why it was broken
// off before.
func (x *Exchange) Watch(end func(why error)) (unwatch func(), err *Error) {
	if err := x.brokenOff(); err != nil {
		return nil, err
	}
	s := x.pipeline.Standing
	if s == nil || !x.stands() {
		return func() {}, nil
	}
	return s.Watch(x, end), nil
}

// Certified returns what plugins have said of the client's certificate. The caller
// may keep it.
func (x *Exchange) Certified() []Certified { return slices.Clone(x.certified) }
