// Package port finds ports for tests. It is apart from package testkit so that the
// packages which that starts can use it in their own tests.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// The ports are below those that systems give to connections and to listeners that
// ask for any, which are from 16000 or 32768 on.
const (
	first = 10000
	count = 6000
)

// Lasting returns an address of the loopback that is free for UDP and TCP, and stays
// so while nobody listens there. Until the test's end no other test is given its
// port, in this process or in another.
func Lasting(t testing.TB) string {
	t.Helper()
	for range 200 {
		port := first + rand.IntN(count)
		// A name of no file, which the system lets go of with the process.
		claim, err := net.Listen("unix", fmt.Sprintf("@bulwark-test-port-%d", port))
		if err != nil {
			continue // another test has it
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if isFree(addr) {
			t.Cleanup(func() { _ = claim.Close() })
			return addr
		}
		_ = claim.Close()
	}
	t.Fatalf("no port from %d to %d is free for UDP and TCP", first, first+count-1)
	return ""
}

// isFree reports whether nobody has an address, for UDP or TCP.
func isFree(addr string) bool {
	packets, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	defer packets.Close()
	stream, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	_ = stream.Close()
	return true
}
