package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// DefaultAddress is where the origin listens when Options.Address is empty.
const DefaultAddress = "127.0.0.1:9000"

// Bounds of the origin. They keep a stray request from holding it for long.
const (
	// MaxSize is the largest body that /size and /chunked make: 1 GiB.
	MaxSize = 1 << 30
	// MaxDelay is the longest wait that /delay grants.
	MaxDelay = 5 * time.Minute
	// MaxEcho is the largest request body that /echo repeats: 1 MiB.
	MaxEcho = 1 << 20

	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 5 * time.Minute
	// stopGrace is how long answers under way may take once the origin stops.
	stopGrace = 5 * time.Second
)

// Options says where the origin listens.
type Options struct {
	// Address is the TCP address to listen on; port 0 takes a free one.
	// Empty means DefaultAddress.
	Address string
	// Ready, if set, is called once with the bound address, before the first
	// request is answered.
	Ready func(netip.AddrPort)
}

// Run serves until ctx ends, then lets answers under way finish for up to five
// seconds. It writes one line with the bound address to stdout.
func Run(ctx context.Context, o Options, stdout io.Writer) error {
	address := o.Address
	if address == "" {
		address = DefaultAddress
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening on %q: %w; stop the process that holds the address or pass another one", address, err)
	}
	bound := ln.Addr().(*net.TCPAddr).AddrPort()
	if _, err := fmt.Fprintf(stdout, "origin listening on http://%s\n", bound); err != nil {
		return errors.Join(fmt.Errorf("writing the bound address: %w", err), ln.Close())
	}
	if o.Ready != nil {
		o.Ready(bound)
	}
	return serve(ctx, ln)
}

// serve answers on ln until ctx ends. Requests see a context that ends with
// the server's grace, so that a long /delay does not hold up the stop.
func serve(ctx context.Context, ln net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	srv := &http.Server{
		Handler:           Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	select {
	case err := <-served:
		return fmt.Errorf("serving on %q: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, done := context.WithTimeout(base, stopGrace)
	defer done()
	err := srv.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		cut()
		err = srv.Close()
	}
	<-served
	if err != nil {
		return fmt.Errorf("stopping the origin: %w", err)
	}
	return nil
}
