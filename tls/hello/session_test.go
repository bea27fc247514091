package hello

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/tls/certs"
)

// recorder is a client's connection that keeps what the client sends.
type recorder struct {
	net.Conn
	sent []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.sent = append(r.sent, b...)
	return r.Conn.Write(b)
}

// connect lets a client of crypto/tls and a server speak to each other and
// returns what the client has sent; it is the hello and more.
func connect(t *testing.T, client, server *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	_ = near.SetDeadline(time.Now().Add(patience))
	_ = far.SetDeadline(time.Now().Add(patience))
	done := make(chan error, 1)
	go func() {
		defer far.Close()
		conn := tls.Server(far, server)
		_, err := io.WriteString(conn, "x") // and with it the session's ticket
		done <- err
		_, _ = io.Copy(io.Discard, conn) // the client's farewell
	}()
	r := &recorder{Conn: near}
	conn := tls.Client(r, client)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	conn.Close()
	return r.sent
}

// TestResumption parses the hello of a client that resumes a session.
func TestResumption(t *testing.T) {
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{*cert}}
	client := &tls.Config{
		ServerName: "www.example.com", InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	first, again := parse(t, connect(t, client, server)), parse(t, connect(t, client, server))
	if first.PreSharedKey || !again.PreSharedKey || again.EarlyData {
		t.Errorf("got %v, then %v; early data %v", first.PreSharedKey, again.PreSharedKey, again.EarlyData)
	}
	if again.ServerName != "www.example.com" {
		t.Errorf("the name is %q", again.ServerName)
	}
}

// TestHiddenHello parses the outer hello of a client that hides another one.
func TestHiddenHello(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// ECHConfigContents of RFC 9849 section 4: HKDF-SHA256 and AES-128-GCM over
	// DHKEM(X25519, HKDF-SHA256).
	contents := "\x07\x00\x20" + vector16(string(key.PublicKey().Bytes())) + vector16("\x00\x01\x00\x01") +
		"\x20" + vector8("public.example") + vector16("")
	list := vector16(number(extECH) + vector16(contents))

	c := catch(t)
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	err = tls.Client(conn, &tls.Config{
		ServerName: "secret.example", NextProtos: []string{"h2"}, EncryptedClientHelloConfigList: []byte(list),
	}).Handshake()
	if err == nil {
		t.Error("the client is not refused")
	}
	b := <-c.hello
	info := parse(t, b)
	if info.ECH != ECHOuter || info.ServerName != "public.example" {
		t.Errorf("got ECH %v and the name %q", info.ECH, info.ServerName)
	}
	if hello := standard(b); hello == nil {
		t.Error("crypto/tls refuses its own hello")
	} else {
		agree(t, info, hello)
	}
}
