package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// idleWorkers is how many connections are opened or asked at once.
	idleWorkers = 32
	// idleTimeout bounds one connect, handshake or exchange.
	idleTimeout = 15 * time.Second
	// spareFiles is how many descriptors a run needs besides connections.
	spareFiles = 256
)

// raiseFiles makes room for n descriptors here and in every child: a limit
// that is set explicitly is inherited.
func raiseFiles(n int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("reading the limit on open files: %w", err)
	}
	want := uint64(n)
	lim.Cur = max(lim.Cur, want)
	lim.Max = max(lim.Max, want)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("raising the limit on open files to %d: %w; use fewer idle connections or raise it with ulimit -n", want, err)
	}
	return nil
}

// crowd is a set of keep-alive connections that carry one request each and
// then rest. It belongs to one goroutine between its calls.
type crowd struct {
	address string
	request string
	tls     *tls.Config // Nil for cleartext.
	echo    bool        // What is requested comes back as it is.
	conns   []net.Conn
}

func newCrowd(port, n int, path string, config *tls.Config) *crowd {
	return &crowd{
		address: fmt.Sprintf("127.0.0.1:%d", port),
		request: "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		tls:     config,
		conns:   make([]net.Conn, n),
	}
}

// open connects all and sends a request on each. Any failure is an error.
func (c *crowd) open(ctx context.Context) error {
	return c.each(ctx, func(i int) error {
		ctx, cancel := context.WithTimeout(ctx, idleTimeout)
		defer cancel()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return err
		}
		c.conns[i] = conn
		if c.tls != nil {
			tc := tls.Client(conn, c.tls)
			c.conns[i] = tc
			if err := tc.HandshakeContext(ctx); err != nil {
				return fmt.Errorf("shaking hands: %w", err)
			}
		}
		return c.exchange(i)
	})
}

// lost sends one more request on each connection and returns how many did not
// answer: those were not idle but dead.
func (c *crowd) lost(ctx context.Context) (int64, error) {
	var n atomic.Int64
	err := c.each(ctx, func(i int) error {
		if c.exchange(i) != nil {
			n.Add(1)
		}
		return nil
	})
	return n.Load(), err
}

func (c *crowd) exchange(i int) error {
	conn := c.conns[i]
	if err := conn.SetDeadline(time.Now().Add(idleTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, c.request); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	if c.echo {
		return c.readEcho(conn)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK || resp.Close {
		return fmt.Errorf("got status %d, close %t", resp.StatusCode, resp.Close)
	}
	return nil
}

func (c *crowd) readEcho(conn net.Conn) error {
	got := make([]byte, len(c.request))
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("reading an echo: %w", err)
	}
	if string(got) != c.request {
		return fmt.Errorf("got %q back, want %q", got, c.request)
	}
	return nil
}

// each calls f for every connection from a few workers and joins them.
func (c *crowd) each(ctx context.Context, f func(i int) error) error {
	var (
		wg   sync.WaitGroup
		next atomic.Int64
		errs [idleWorkers]error
	)
	for w := range errs {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(c.conns) || ctx.Err() != nil {
					return
				}
				if err := f(i); err != nil {
					errs[w] = fmt.Errorf("idle connection %d: %w", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (c *crowd) close() {
	for _, conn := range c.conns {
		if conn != nil {
			// They have served; what closing says does not matter.
			_ = conn.Close()
		}
	}
}
