package l4

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/expr"
)

// protocols is a set of protocols.
type protocols uint8

const (
	bitTCP protocols = 1 << iota
	bitTLS
	bitPassthrough
	bitUDP

	named = bitTLS | bitPassthrough // those whose routes may name servers
)

func protocolBit(p config.Protocol) protocols {
	switch p {
	case config.TCP:
		return bitTCP
	case config.TLS:
		return bitTLS
	case config.TLSPassthrough:
		return bitPassthrough
	case config.UDP:
		return bitUDP
	}
	return 0
}

// rule is a route, or a part of one: a route with whole server names and with
// wildcards is split, since the former go first.
type rule struct {
	route        *Route
	priority     uint64
	created      float64
	declared     int // place of the route in the declaration
	protocols    protocols
	exact        bool // its server names have no wildcard
	placed       bool // see Query.Placed
	snis         []sniPattern
	sources      ends
	destinations ends
	expression   *expr.Expr // nil for none; then there is nothing else
}

// sniKind is the form of a server name of a route.
type sniKind uint8

const (
	sniExact  sniKind = iota // name
	sniSuffix                // *.name, kept as ".name"
	sniPrefix                // name.*, kept as "name."
)

// sniPattern is a server name of a route, in lower case.
type sniPattern struct {
	kind sniKind
	text string
}

func parseSNI(s string) sniPattern {
	s = strings.ToLower(s)
	if strings.HasSuffix(s, ".*") {
		return sniPattern{sniPrefix, s[:len(s)-1]}
	}
	s = strings.TrimSuffix(s, ".") // the root's dot is never in a handshake (RFC 6066 section 3)
	if strings.HasPrefix(s, "*.") {
		return sniPattern{sniSuffix, s[1:]}
	}
	return sniPattern{sniExact, s}
}

// expressionBits lift the priority of an expression, which has 46 bits, over
// those of all routes with match fields, as in Kong.
const expressionBits uint64 = 0xff << 56

// compileRoute returns the rules of the route that stands at the given place of
// the declaration.
func compileRoute(route *Route, declared int) ([]rule, error) {
	e := route.Entity
	u := rule{route: route, created: float64(e.CreatedAt), declared: declared}
	for _, p := range e.Protocols {
		u.protocols |= protocolBit(p)
	}
	if e.Expression != "" {
		text, err := e.ParsedExpression()
		if err != nil {
			return nil, fmt.Errorf("parsing the expression: %w", err)
		}
		u.expression, u.placed = text, text.NamesPlace()
		u.priority = expressionBits | uint64(e.Priority)
		return []rule{u}, nil
	}
	u.priority = priority(e)
	u.sources, u.destinations = compileEnds(e.Sources), compileEnds(e.Destinations)
	u.placed = len(e.SNIs) > 0 || u.destinations.allPorts()
	var whole, wild []sniPattern
	for _, s := range e.SNIs {
		if p := parseSNI(s); p.kind == sniExact {
			whole = append(whole, p)
		} else {
			wild = append(wild, p)
		}
	}
	if len(whole) == 0 || len(wild) == 0 {
		u.snis, u.exact = append(whole, wild...), len(whole) > 0
		return []rule{u}, nil
	}
	first, second := u, u
	first.snis, first.exact = whole, true
	second.snis = wild
	return []rule{first, second}, nil
}

// The parts of a priority, from the high bits to the low, as in Kong's flavour
// traditional_compatible.
const (
	attributeBit = 61 // there are server names, or both sources and destinations
	sourceShift  = 4  // what the sources name, of the bits below; then the destinations

	addressBit = 1 << 3
	portBit    = 1 << 2
	rangeBit   = 1 << 0
)

// priority returns the number that decides between routes that match: the
// greatest wins.
func priority(e *config.Route) uint64 {
	p := endsWeight(e.Sources)<<sourceShift | endsWeight(e.Destinations)
	if len(e.SNIs) > 0 || len(e.Sources) > 0 && len(e.Destinations) > 0 {
		p |= 1 << attributeBit
	}
	return p
}

func endsWeight(list []config.StreamAddress) (w uint64) {
	for i := range list {
		switch a := &list[i]; {
		case a.IP == nil:
		case strings.Contains(a.IP.String(), "/"): // as written: /32 is a range too
			w |= rangeBit
		default:
			w |= addressBit
		}
		if list[i].Port != nil {
			w |= portBit
		}
	}
	return w
}

// fewEnds is how many entries are compared one by one; more are looked up.
const fewEnds = 8

// ends are the sources or the destinations of a route. The zero value is none,
// which every address fits.
type ends struct {
	few    []end
	wide   *bart.Lite            // the addresses that any port goes with, of many
	ranges map[uint16]*bart.Lite // those that go with a port, of many
	ports  map[uint16]struct{}   // the ports that any address goes with, of many
	list   []end                 // all, in order
}

// end is one entry.
type end struct {
	prefix netip.Prefix // the zero value: any
	port   int32        // below zero: any
}

func compileEnds(list []config.StreamAddress) (e ends) {
	for i := range list {
		one := end{port: -1}
		if a := &list[i]; a.IP != nil {
			one.prefix = a.IP.Prefix
		}
		if p := list[i].Port; p != nil {
			one.port = int32(*p)
		}
		e.list = append(e.list, one)
	}
	if len(e.list) <= fewEnds {
		e.few = e.list
		return e
	}
	e.wide, e.ranges, e.ports = new(bart.Lite), make(map[uint16]*bart.Lite), make(map[uint16]struct{})
	for _, one := range e.list {
		port := uint16(one.port)
		switch {
		case one.port < 0:
			e.wide.Insert(one.prefix)
		case !one.prefix.IsValid():
			e.ports[port] = struct{}{}
		default:
			if e.ranges[port] == nil {
				e.ranges[port] = new(bart.Lite)
			}
			e.ranges[port].Insert(one.prefix)
		}
	}
	return e
}

// allPorts reports whether there are entries and each names a port.
func (e *ends) allPorts() bool {
	for _, one := range e.list {
		if one.port < 0 {
			return false
		}
	}
	return len(e.list) > 0
}

// allAddresses reports whether there are entries and each names addresses.
func (e *ends) allAddresses() bool {
	for _, one := range e.list {
		if !one.prefix.IsValid() {
			return false
		}
	}
	return len(e.list) > 0
}

// fit reports whether one of the entries is at.
func (e *ends) fit(at netip.AddrPort) bool {
	if len(e.list) == 0 {
		return true
	}
	for i := range e.few {
		if e.few[i].fits(at) {
			return true
		}
	}
	if e.wide == nil {
		return false
	}
	if _, ok := e.ports[at.Port()]; ok || e.wide.Contains(at.Addr()) {
		return true
	}
	t := e.ranges[at.Port()]
	return t != nil && t.Contains(at.Addr())
}

func (e *end) fits(at netip.AddrPort) bool {
	return (e.port < 0 || uint16(e.port) == at.Port()) && (!e.prefix.IsValid() || e.prefix.Contains(at.Addr()))
}

// holds reports whether the rule matches, its server name being right.
func (u *rule) holds(l *lookup) bool {
	if u.protocols&l.protocol == 0 || l.q.Placed && !u.placed {
		return false
	}
	if l.unnamed && len(u.snis) > 0 && l.protocol&named != 0 {
		return false // it stands here for plain streams, which have no name
	}
	if u.expression != nil {
		return u.expression.Eval(&l.fields)
	}
	return u.sources.fit(l.q.Source) && u.destinations.fit(l.q.Destination)
}
