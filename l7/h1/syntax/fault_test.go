package syntax

import (
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

// TestFaults holds that every fault has its words and that a bad message of the
// tables shows each.
func TestFaults(t *testing.T) {
	shown := map[fault]bool{faultHeadEnd: true} // no message: the caller cut the head wrongly
	for _, list := range [][]badHead{badRequests(), badResponses()} {
		for _, bad := range list {
			shown[bad.want] = true
		}
	}
	for _, bad := range badChunkeds() {
		shown[bad.want] = true
	}
	shown[faultTargetTooLong] = true // TestHeadLimits
	texts := map[string]bool{}
	for f := faultNone + 1; f < faultCount; f++ {
		text := f.Error()
		if text == "" || texts[text] {
			t.Errorf("fault %d has the text %q, which is empty or another's", f, text)
		}
		texts[text] = true
		if !shown[f] {
			t.Errorf("no bad message shows %q", f)
		}
	}
}

func TestRequestErrors(t *testing.T) {
	others := map[fault]l7.Error{
		faultConnect:         {Status: 405, Message: "Method not allowed", Reason: l7.ReasonConnectRefused},
		faultTargetTooLong:   {Status: 414, Message: "URI too long", Reason: l7.ReasonHeadTooLarge},
		faultExpect:          {Status: 417, Message: "Expectation failed", Reason: l7.ReasonExpectation},
		faultHeadTooLarge:    {Status: 431, Message: "Request header or cookie too large", Reason: l7.ReasonHeadTooLarge},
		faultTooManyFields:   {Status: 431, Message: "Request header or cookie too large", Reason: l7.ReasonHeadTooLarge},
		faultTrailerTooLarge: {Status: 431, Message: "Request header or cookie too large", Reason: l7.ReasonHeadTooLarge},
		faultEncodingUnknown: {Status: 501, Message: "Not implemented", Reason: l7.ReasonUnsupported},
		faultVersionUnknown:  {Status: 505, Message: "HTTP version not supported", Reason: l7.ReasonUnsupported},
	}
	for f := faultNone + 1; f < faultCount; f++ {
		want, ok := others[f]
		if !ok {
			want = l7.Error{Status: 400, Message: "Bad request", Reason: l7.ReasonBadRequest}
		}
		want.Side, want.Err = l7.SideClient, f
		if got := *requestErrors[f]; got != want {
			t.Errorf("%q is %+v, want %+v", f, got, want)
		}
		want = l7.Error{
			Status: 502, Message: "An invalid response was received from the upstream server",
			Reason: l7.ReasonUpstreamProtocol, Side: l7.SideUpstream, Err: f,
		}
		if got := *responseErrors[f]; got != want {
			t.Errorf("%q is %+v, want %+v", f, got, want)
		}
	}
}
