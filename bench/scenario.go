package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/bench/tcp"
)

// Cost units: what a scenario compares.
const (
	perRequest    = "CPU us/request"
	perGigabyte   = "CPU ms/GB"
	perConnection = "bytes/connection"
	perRoundTrip  = "CPU us/round trip"
	perConnect    = "CPU us/connection"
	perHandshake  = "CPU us/handshake and request"
	residentAtAll = "MB resident"
)

// scenario is one kind of work for the contestants.
type scenario struct {
	name    string
	title   string
	unit    string
	path    string // What is requested.
	request string // With a WAF: the request, a file of its own; path is what it asks for.
	stream  string // What is done over TCP, in place of HTTP: a mode of bench tcp, or streamRest.
	bare    string // Asked of Bulwark as its own peer, in place of the others; "": there is none.
	tls     bool
	shakes  string // What connections do that carry one request each over TLS: full, resumed, mutual or quantum; "": they stay.
	streams int    // At a time on each connection, over HTTP/2; 0: it is HTTP/1.1.
	logs    bool   // Lines are written: to access logs, or where there is a bare route by its plugins.
	conns   int    // Connections of the load; of idle scenarios, what there are unless told, 0: DefaultIdle.
	idle    bool
	flows   int // Of bench udp, in place of HTTP; 0: it is no scenario of datagrams.
	size    int // Of its datagrams, in bytes.
	bar     *bar
}

// bar is what Bulwark must reach: a cost of at most factor times that of peer
// or, without a peer, of at most limit.
type bar struct {
	peer   string
	factor float64
	limit  float64
}

func scenarios() []scenario {
	return []scenario{
		{
			name: "http1-64", title: "HTTP/1.1 keep-alive, 64 connections, 128-byte answers",
			unit: perRequest, path: "/size/128", conns: 64, bar: &bar{peer: "nginx", factor: 1},
		},
		{
			name: "http1-1000", title: "HTTP/1.1 keep-alive, 1,000 connections, 128-byte answers",
			unit: perRequest, path: "/size/128", conns: 1000, bar: &bar{peer: "nginx", factor: 1},
		},
		{
			name: "https-64", title: "the same as http1-64 over TLS 1.3",
			unit: perRequest, path: "/size/128", conns: 64, tls: true, bar: &bar{peer: "nginx", factor: 0.8},
		},
		{
			name: "h2-512", title: "HTTP/2 over TLS 1.3, 32 connections with 16 streams each, 128-byte answers",
			unit: perRequest, path: "/size/128", conns: 32, streams: 16, tls: true, bar: &bar{peer: "haproxy", factor: 0.9},
		},
		{
			name: "h2-bulk", title: "HTTP/2 over TLS 1.3, one connection with 100 streams, answers of 100 KB",
			unit: perGigabyte, path: "/size/100k", conns: 1, streams: 100, tls: true, bar: &bar{peer: "nginx", factor: 1},
		},
		{
			name: "tls-full", title: "a connection over TLS 1.3 for each request: full handshakes, ECDSA P-256 and X25519, 16 at once",
			unit: perHandshake, path: "/size/128", conns: 16, tls: true, shakes: shakesFull, bar: &bar{peer: "nginx", factor: 1},
		},
		{
			name: "tls-resumed", title: "the same as tls-full with resumed sessions",
			unit: perHandshake, path: "/size/128", conns: 16, tls: true, shakes: shakesResumed, bar: &bar{peer: "nginx", factor: 1},
		},
		{
			name: "tls-mutual", title: "the same as tls-full with a client's certificate, which is verified",
			unit: perHandshake, path: "/size/128", conns: 16, tls: true, shakes: shakesMutual, bar: &bar{peer: "nginx", factor: 1.3},
		},
		{
			name: "tls-quantum", title: "the same as tls-full with X25519MLKEM768, against X25519",
			unit: perHandshake, path: "/size/128", bare: "/size/128", conns: 16, tls: true, shakes: shakesQuantum,
		},
		{
			name: "logs", title: "the same as http1-64 with access logs on",
			unit: perRequest, path: "/size/128", conns: 64, logs: true,
		},
		{
			name: "body-100k", title: "answers of 100 KiB over 16 connections",
			unit: perGigabyte, path: "/size/100k", conns: 16, bar: &bar{peer: "nginx", factor: 1.2},
		},
		{
			name: "body-10m", title: "answers of 10 MiB over 16 connections",
			unit: perGigabyte, path: "/size/10m", conns: 16, bar: &bar{peer: "nginx", factor: 1.2},
		},
		{
			name: "plugins-5", title: "the same as http1-64 with five plugins, against the bare route",
			unit: perRequest, path: "/plugins/size/128", bare: "/size/128", conns: 64, logs: true, bar: &bar{peer: bareName, factor: 1.25},
		},
		{
			name: "cache-hit", title: "the same as http1-64 from the cache",
			unit: perRequest, path: "/cached/size/128", conns: 64, bar: &bar{peer: "nginx", factor: 1.2},
		},
		{
			name: "waf-get", title: "a GET with the Core Rule Set at paranoia level 1, 16 connections, 2 KiB of text as answer",
			unit: perRequest, path: "/text/2k", request: "waf/get.http", conns: 16, bar: &bar{peer: "nginx", factor: 0.8},
		},
		{
			name: "waf-json", title: "the same as waf-get with a POST of 400 bytes of JSON",
			unit: perRequest, path: "/text/2k", request: "waf/json.http", conns: 16, bar: &bar{peer: "nginx", factor: 1.15},
		},
		{
			name: "waf-form", title: "the same as waf-get with a POST of a form of 250 bytes",
			unit: perRequest, path: "/text/2k", request: "waf/form.http", conns: 16, bar: &bar{peer: "nginx", factor: 1.15},
		},
		{
			name: "waf-json16k", title: "the same as waf-get with a POST of 16 KiB of JSON, over one connection",
			unit: perRequest, path: "/text/2k", request: "waf/json16k.http", conns: 1,
		},
		{
			name: "idle", title: "idle keep-alive connections after one request each",
			unit: perConnection, path: "/size/128", idle: true, bar: &bar{limit: 10 * 1024},
		},
		{
			name: "idle-tls", title: "idle keep-alive connections over TLS 1.3 after one request each",
			unit: perConnection, path: "/size/128", idle: true, tls: true,
		},
		{
			name: "tcp-rtt-64", title: "round trips of 64 bytes over 64 relayed TCP connections",
			unit: perRoundTrip, stream: tcp.RoundTrips, conns: 64, bar: &bar{peer: "nginx", factor: 1},
		},
		{
			name: "tcp-bulk", title: "bytes in bulk over 16 relayed TCP connections",
			unit: perGigabyte, stream: tcp.Bulk, conns: 16, bar: &bar{peer: "haproxy", factor: 1},
		},
		{
			name: "tcp-connect", title: "a relayed TCP connection for each round trip of 64 bytes, 64 at once",
			unit: perConnect, stream: tcp.Connections, conns: 64, bar: &bar{peer: "nginx", factor: 1},
		},
		{
			name: "tcp-idle-8000", title: "idle relayed TCP connections after one round trip each",
			unit: residentAtAll, stream: streamRest, idle: true, conns: 8000, bar: &bar{peer: "nginx", factor: 2},
		},
		{
			name: "udp-rtt-64", title: "datagrams of 200 bytes there and back, 64 flows",
			unit: perRoundTrip, flows: 64, size: 200, bar: &bar{peer: "nginx", factor: 0.67},
		},
		{
			name: "udp-rtt-1000", title: "datagrams of 200 bytes there and back, 1,000 flows",
			unit: perRoundTrip, flows: 1000, size: 200, bar: &bar{peer: "nginx", factor: 0.67},
		},
	}
}

// streamRest is for relayed TCP connections that do nothing.
const streamRest = "rest"

// resting returns how many connections rest in the scenario; 0: it is not one
// of those.
func (s *scenario) resting(o *Options) int {
	switch {
	case !s.idle:
		return 0
	case o.idleTold || s.conns == 0:
		return o.IdleConnections
	}
	return s.conns
}

// bareName is the contestant that Bulwark is to itself where a scenario compares
// two of its routes.
const bareName = "bare"

// entrant is a contestant of one scenario and what it is asked for.
type entrant struct {
	name    string
	program *program
	path    string
}

// entrants returns who takes part in a scenario.
func (r *run) entrants(sc *scenario) (list []entrant) {
	for i := range r.programs {
		p := &r.programs[i]
		if sc.flows > 0 && udpTemplates[p.name] == "" || sc.request != "" && wafTemplates[p.name] == "" {
			continue
		}
		if sc.bare == "" || p.name == subject {
			list = append(list, entrant{p.name, p, sc.path})
		}
		if sc.bare != "" && p.name == subject {
			list = append(list, entrant{bareName, p, sc.bare})
		}
	}
	return list
}

// pick returns the scenarios of the given names, in the table's order; no name
// means all.
func pick(names []string) ([]scenario, error) {
	all, known := scenarios(), ScenarioNames()
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("scenario %q is unknown; known are %s", n, strings.Join(known, ", "))
		}
	}
	if len(names) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(s scenario) bool { return !slices.Contains(names, s.name) }), nil
}
