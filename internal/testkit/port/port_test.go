package port

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// TestLasting holds that nobody is given a port that a test has, and that it can be
// had again when the test is over.
func TestLasting(t *testing.T) {
	var given []string
	t.Run("tests at once", func(t *testing.T) {
		had := make(map[string]bool)
		for range 500 {
			at := Lasting(t)
			if had[at] {
				t.Fatalf("%s is given twice", at)
			}
			had[at] = true
			given = append(given, at)
		}
	})
	for _, at := range given {
		_, port, _ := strings.Cut(at, ":")
		claim, err := net.Listen("unix", fmt.Sprint("@bulwark-test-port-", port))
		if err != nil {
			t.Fatalf("%s is kept: %v", at, err)
		}
		defer claim.Close()
	}
}

// TestIsFree shows that an address which is taken for either protocol is not free.
func TestIsFree(t *testing.T) {
	at := Lasting(t)
	if !isFree(at) {
		t.Fatalf("%s is not free", at)
	}
	packets, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	if isFree(at) {
		t.Error("an address with a socket of UDP is free")
	}
	packets.Close()
	stream, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if isFree(at) {
		t.Error("an address with a listener of TCP is free")
	}
}
