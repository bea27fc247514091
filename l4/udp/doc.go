// Package udp carries flows of datagrams between clients and upstreams.
//
// A flow is what one client's address and port sends to one of our addresses,
// and what comes back for it. Each flow has a socket of its own towards its
// upstream, connected to it, so that no answer can reach another client and an
// ICMP error is that flow's alone.
//
// Every socket of a listener (SO_REUSEPORT) has one loop (internal/epoll) with
// its own table of flows. A turn reads as many datagrams as there are, by one
// call, and sends them on at once, those of one flow together; answers are
// gathered over the turn and leave by one call. Nothing on this path takes a
// lock, waits or allocates.
//
// What a flow is and where it goes is its Handler's business: this package
// knows sockets, time and bounds. Whatever it cannot carry it drops whole, and
// counts with a reason.
package udp
