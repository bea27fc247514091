package main

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/bulwark-edge/bulwark/edge"
)

// demo is where a running edge can be tried.
type demo struct {
	http, https, status, origin netip.AddrPort
}

// demoOf returns where the listeners of examples/quickstart.yaml are bound.
func demoOf(e *edge.Edge, origin netip.AddrPort) demo {
	d := demo{status: e.StatusAddr(), origin: origin}
	d.http, _ = e.Addr("http")
	d.https, _ = e.Addr("https")
	return d
}

// print prints the curl lines to try, which are the README's.
func (d demo) print(w io.Writer) {
	fmt.Fprintf(w, `Bulwark serves http://%[1]s and https://%[2]s in front of the demo origin %[3]s.
Try, in another terminal:

  # The demo origin, through the edge.
  curl http://%[1]s/

  # The same over TLS, with a self-made certificate.
  curl -k https://%[2]s/

  # An answer of the origin's, passed on.
  curl http://%[1]s/status/418

  # Refused by the plugin ip-restriction.
  curl http://%[1]s/admin

  # Answered by the plugin request-termination.
  curl http://%[1]s/maintenance

  # The plugin correlation-id tells the request's id.
  curl -s -o /dev/null -D - -H 'X-Correlation-ID: order-42' http://%[1]s/ | grep -i correlation

  # How the edge is.
  curl http://%[4]s/status/ready

Ctrl-C drains and ends.
`, d.http, d.https, d.origin, d.status)
}
