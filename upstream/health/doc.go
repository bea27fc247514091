// Package health asks the endpoints of upstreams how they are: the active
// checks of Kong's healthchecks. It sends probes and reports what came of them;
// what follows from that is the balancer's business, as is what the traffic
// itself shows.
package health
