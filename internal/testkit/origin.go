package testkit

import (
	"net"
	"sync"
	"testing"
)

// StartTCP starts a server on a free port of 127.0.0.1 that gives each
// connection to serve, on a goroutine of its own. The test's end closes every
// connection and waits for serve to return.
func StartTCP(t testing.TB, serve func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &tcpServer{ln: ln, serve: serve, conns: make(map[net.Conn]bool)}
	s.work.Go(s.accept)
	t.Cleanup(s.close)
	return ln.Addr().String()
}

type tcpServer struct {
	ln    net.Listener
	serve func(net.Conn)
	work  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

func (s *tcpServer) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		if s.closed {
			c.Close()
		}
		s.mu.Unlock()
		s.work.Go(func() {
			defer func() {
				c.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			}()
			s.serve(c)
		})
	}
}

func (s *tcpServer) close() {
	s.ln.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}
