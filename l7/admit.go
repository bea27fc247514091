package l7

import (
	"net/http"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// errMisdirected is the answer to a request for a host whose clients are asked
// something else in the handshake than this one was (RFC 9110 section 15.5.20).
var errMisdirected = &Error{Status: http.StatusMisdirectedRequest, Message: "Misdirected request", Reason: ReasonMisdirected, Side: SideClient}

// admit holds an exchange against the policy of its host. A connection that the
// configuration of today would not have let come about like this ends with the
// exchange.
func (p *Pipeline) admit(x *Exchange, host string) error {
	t := x.Conn.TLS
	if p.Orphan {
		if !t.Asked && !p.OrphanGuarded {
			return nil
		}
		x.Req.Close = true
		return errMisdirected
	}
	c := t.Client
	if c == nil { // nothing was asked of anybody when it shook hands
		c = &policy.Client{ServerName: t.ServerName}
	}
	admission, err := p.Policies.Admit(c, host)
	switch admission {
	case policy.Admitted:
		return nil
	case policy.AdmittedLast, policy.Ended:
		x.Req.Close = true
	}
	if err != nil {
		x.SetClientVerify(l4.VerifyFailed + peer.Code(err, NotAllowed))
	}
	if admission == policy.AdmittedLast {
		return nil
	}
	return errMisdirected
}

// NotAllowed is the text for a certificate that is good, but not that of somebody
// who is let in.
const NotAllowed = "not_allowed"
