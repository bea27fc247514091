package telemetry

import (
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifyTimeout bounds the wait for a service manager that does not read.
const notifyTimeout = time.Second

// Notifier tells the service manager, by the protocol of sd_notify(3), what the
// process is doing. Without NOTIFY_SOCKET it does nothing.
type Notifier struct {
	addr string // "" when nobody listens; a leading @ means an abstract socket
}

// NewNotifier finds the service manager's socket; lookup is os.LookupEnv.
func NewNotifier(lookup func(string) (string, bool)) *Notifier {
	addr, _ := lookup("NOTIFY_SOCKET")
	if !strings.HasPrefix(addr, "@") && !strings.HasPrefix(addr, "/") {
		addr = "" // vsock and other forms are for virtual machines' own init
	}
	return &Notifier{addr: addr}
}

// Ready tells that the listeners serve, after the start or after a reload.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1\nSTATUS=" + oneLine(status))
}

// Reloading tells that a reload has begun; Ready ends it, whether the new
// configuration serves or the old one goes on.
func (n *Notifier) Reloading() error {
	if n.addr == "" {
		return nil
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("reading the monotonic clock: %w", err)
	}
	return n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping tells that the drain has begun.
func (n *Notifier) Stopping(status string) error {
	return n.send("STOPPING=1\nSTATUS=" + oneLine(status))
}

func (n *Notifier) send(state string) error {
	if n.addr == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.addr, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notifying the service manager: %w", err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return fmt.Errorf("notifying the service manager: %w", err)
	}
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notifying the service manager: %w", err)
	}
	return nil
}

// oneLine keeps a text from becoming further assignments.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
