package main

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/bulwark-edge/bulwark/edge"
)

type netipAddr = netip.AddrPort

// printDemo prints the curl lines to try against examples/quickstart.yaml.
func printDemo(w io.Writer, e *edge.Edge, origin string) {
	httpAddr, _ := e.Addr("http")
	httpsAddr, _ := e.Addr("https")
	fmt.Fprintf(w, `Bulwark serves http://%[1]s and https://%[2]s in front of the demo origin %[3]s.
Try, in another terminal:

  curl -i http://%[1]s/                      the demo origin, through the edge
  curl -ik https://%[2]s/echo                the same over TLS: what the origin was sent
  curl -i http://%[1]s/status/404            an answer of the origin's
  curl -i http://%[1]s/admin                 refused by ip-restriction
  curl -i http://%[1]s/maintenance           answered by request-termination
  curl -s http://%[4]s/status               how the edge is

Ctrl-C drains and ends.
`, httpAddr, httpsAddr, origin, e.StatusAddr())
}
