package port

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// TestLasting holds that nobody is given a port that a test has.
func TestLasting(t *testing.T) {
	had := make(map[string]bool)
	for range 500 {
		at := Lasting(t)
		if had[at] {
			t.Fatalf("%s is given twice", at)
		}
		had[at] = true
	}
}

// TestLastingIsGivenBack holds that a port can be had again when its test is over.
// Another process may take it at once, though seldom each time.
func TestLastingIsGivenBack(t *testing.T) {
	var err error
	for range 20 {
		var port string
		t.Run("a test", func(t *testing.T) { _, port, _ = strings.Cut(Lasting(t), ":") })
		var claim net.Listener
		if claim, err = net.Listen("unix", fmt.Sprint("@bulwark-test-port-", port)); err == nil {
			_ = claim.Close()
			return
		}
	}
	t.Errorf("each one is kept, the last one by: %v", err)
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
