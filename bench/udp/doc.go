// Package udp measures servers and proxies of datagrams: it sends datagrams
// over many flows and counts what comes back, when, and what does not. Echo is
// something to have behind a proxy.
//
// In the closed loop each flow sends its next datagram when the last one has
// come back or is given up. In the open loop datagrams are sent at a fixed rate,
// whatever comes back; the search finds the highest rate at which no more than a
// given share is lost.
package udp
