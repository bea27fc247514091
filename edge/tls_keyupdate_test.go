package edge_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestEndlessKeyUpdates lets a client change its key again and again and say
// nothing (CVE-2026-56862): crypto/tls must end that, since to us it is a client
// that has not begun its request.
func TestEndlessKeyUpdates(t *testing.T) {
	e := testkit.StartEdge(t, answering("  limits: {header_timeout: 10m}\n", ""))
	socket := dialAt(t, e.At("https"))
	var secrets bytes.Buffer
	c := tls.Client(socket, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &secrets})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("the suite is %s, and this test writes records of AES-128-GCM", tls.CipherSuiteName(suite))
	}
	secret := clientSecret(t, secrets.String())
	for range 1000 {
		if _, err := socket.Write(keyUpdate(t, secret)); err != nil {
			break // the edge has closed
		}
		secret = expandLabel(t, secret, "traffic upd", sha256.Size)
	}
	if _, err := io.Copy(io.Discard, socket); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("after 1,000 changes of the key the connection is still open")
	}
}

// clientSecret returns the first secret of a client's traffic, from a log of keys.
func clientSecret(t *testing.T, log string) []byte {
	t.Helper()
	for line := range strings.Lines(log) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "CLIENT_TRAFFIC_SECRET_0" {
			continue
		}
		secret, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	t.Fatalf("there is no secret in %q", log)
	return nil
}

// keyUpdate returns the first record under a secret: a KeyUpdate that asks for
// none in turn (RFC 8446 sections 4.6.3 and 5.2).
func keyUpdate(t *testing.T, secret []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(expandLabel(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	const handshake, message = 22, "\x18\x00\x00\x01\x00"
	plain := append([]byte(message), handshake)
	header := []byte{23, 3, 3, 0, byte(len(plain) + gcm.Overhead())}
	return gcm.Seal(header, expandLabel(t, secret, "iv", gcm.NonceSize()), plain, header)
}

// expandLabel is HKDF-Expand-Label (RFC 8446 section 7.1), with no context.
func expandLabel(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	key, err := hkdf.Expand(sha256.New, secret, info, n)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
