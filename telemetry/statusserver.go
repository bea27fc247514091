package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// The bounds of the status listener. It serves an operator and a scraper or
// two, so they are small and not configurable.
const (
	statusConnections   = 64
	statusHeadBytes     = 16 << 10
	statusHeaderTimeout = 5 * time.Second
	statusReadTimeout   = 10 * time.Second
	statusWriteTimeout  = 30 * time.Second
	statusIdleTimeout   = 60 * time.Second
)

// StatusServer serves the status handler on an address of its own, away from
// the data path. Start opens it, Close ends it and joins its goroutines.
type StatusServer struct {
	addr string
	log  *slog.Logger
	srv  http.Server
	ln   net.Listener
	done chan struct{}
}

// NewStatusServer returns a server for addr, "host:port", that is not yet open.
func NewStatusServer(addr string, h http.Handler, log *slog.Logger) *StatusServer {
	return &StatusServer{
		addr: addr,
		log:  log,
		srv: http.Server{
			Handler:           h,
			ReadHeaderTimeout: statusHeaderTimeout,
			ReadTimeout:       statusReadTimeout,
			WriteTimeout:      statusWriteTimeout,
			IdleTimeout:       statusIdleTimeout,
			MaxHeaderBytes:    statusHeadBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		done: make(chan struct{}),
	}
}

// Start binds the address and serves until Close.
func (s *StatusServer) Start(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("opening the status listener %q: %w (set node.status to a free address or to \"off\")", s.addr, err)
	}
	s.ln = newCappedListener(ln, statusConnections)
	go func() {
		defer close(s.done)
		if err := s.srv.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("status listener ended", "address", s.addr, "error", err)
		}
	}()
	return nil
}

// Addr returns the address that is bound, port included. It is valid after
// Start.
func (s *StatusServer) Addr() netip.AddrPort {
	return s.ln.Addr().(*net.TCPAddr).AddrPort()
}

// Close stops accepting, lets answers under way finish until ctx ends, and
// then cuts them. On a server that was never started it does nothing.
func (s *StatusServer) Close(ctx context.Context) error {
	if s.ln == nil {
		return nil
	}
	err := s.srv.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.srv.Close())
	}
	<-s.done
	if err != nil {
		return fmt.Errorf("closing the status listener %q: %w", s.addr, err)
	}
	return nil
}

// cappedListener holds back accepting while its bound of connections is open;
// the kernel's queue then makes the others wait.
type cappedListener struct {
	net.Listener
	slots chan struct{} // one element for each open connection
	once  sync.Once
	ended chan struct{}
}

func newCappedListener(ln net.Listener, limit int) *cappedListener {
	return &cappedListener{Listener: ln, slots: make(chan struct{}, limit), ended: make(chan struct{})}
}

// Accept waits for a slot, then for a connection.
func (l *cappedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &cappedConn{Conn: c, free: func() { <-l.slots }}, nil
}

// Close ends Accept, also one that waits for a slot.
func (l *cappedListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

// cappedConn gives its slot back when it is closed.
type cappedConn struct {
	net.Conn
	once sync.Once
	free func()
}

// Close closes the connection.
func (c *cappedConn) Close() error {
	c.once.Do(c.free)
	return c.Conn.Close()
}
