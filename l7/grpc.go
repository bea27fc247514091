package l7

import (
	"net/http"
	"strconv"
	"strings"
)

// grpcType begins the media types of gRPC.
const grpcType = "application/grpc"

// IsGRPC reports whether the request's content is gRPC, as Kong tells it: by the
// beginning of its type.
func (r *Request) IsGRPC() bool {
	t, ok := r.Header.Known(FieldContentType)
	return ok && strings.HasPrefix(t, grpcType)
}

// callsGRPC reports whether the client understands an answer of gRPC.
func (x *Exchange) callsGRPC() bool { return x.Req.Proto >= HTTP2 && x.Req.IsGRPC() }

// What a route of gRPC answers to what it does not take, in Kong's words.
var (
	notGRPC  = Problem(http.StatusUnsupportedMediaType, "Non-gRPC request matched gRPC route").WithReason(ReasonNotGRPC)
	notHTTP2 = Problem(http.StatusUpgradeRequired, "Please use HTTP2 protocol").
			SetHeader("Connection", "Upgrade").SetHeader("Upgrade", "HTTP/2").WithReason(ReasonNotGRPC)
	notGRPCS = grpcReply(grpcCancelled, "gRPC request matched gRPCs route").WithReason(ReasonHTTPSRequired)
)

// refuseGRPC returns what a route of gRPC answers to a request that is none, or
// came by the wrong protocol; nil if it is right.
func (p *Pipeline) refuseGRPC(x *Exchange) *Reply {
	switch {
	case !x.Req.IsGRPC():
		return notGRPC
	case x.Req.Proto < HTTP2:
		return notHTTP2
	case !x.Route.GRPC && !p.secure(x):
		return notGRPCS
	}
	return nil
}

// The statuses of gRPC that stand for one of HTTP.
const (
	grpcCancelled         = 1
	grpcUnknown           = 2
	grpcInvalidArgument   = 3
	grpcDeadline          = 4
	grpcNotFound          = 5
	grpcAborted           = 6
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// grpcStatus returns the status of gRPC for one of HTTP: Kong's, and for what
// Kong leaves unknown that of the gRPC project, or what its name says.
func grpcStatus(status int) int {
	switch status {
	case http.StatusBadRequest:
		return grpcInvalidArgument
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusNotFound:
		return grpcNotFound
	case http.StatusConflict:
		return grpcAborted
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge:
		return grpcResourceExhausted
	case StatusClientGone:
		return grpcCancelled
	case http.StatusInternalServerError:
		return grpcInternal
	case http.StatusNotImplemented:
		return grpcUnimplemented
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return grpcUnavailable
	case http.StatusGatewayTimeout:
		return grpcDeadline
	}
	return grpcUnknown
}

// grpcReply returns an answer that is a head alone, of the form "Trailers-Only".
func grpcReply(status int, message string) *Reply {
	r := NewReply(http.StatusOK, "", nil)
	r.bare = true
	r.SetHeader("Content-Type", grpcType)
	r.SetHeader("grpc-status", strconv.Itoa(status))
	return r.SetHeader("grpc-message", escapeGRPC(message))
}

// toGRPC returns an error as a client of gRPC is told it: with status 200, its own
// status in a field. The reply's other fields stay, so that a client still learns
// what is asked of it.
func (r *Reply) toGRPC() *Reply {
	message := r.message
	if message == "" {
		message = http.StatusText(r.Status)
	}
	to := grpcReply(grpcStatus(r.Status), message).WithReason(r.Reason)
	for _, f := range r.Header {
		switch {
		case f.ID == FieldContentType, f.ID == FieldConnection, f.ID == FieldUpgrade:
		default:
			to.Header = append(to.Header, f)
		}
	}
	return to
}

// escapeGRPC returns a message as it stands in grpc-message: bytes that are not
// printable ASCII, and the percent sign, are percent-encoded.
func escapeGRPC(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
