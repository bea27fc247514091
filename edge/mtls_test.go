package edge_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// protected is an edge with a host whose clients are asked for a certificate of
// the authorities, and one whose clients are not. more is added to the plugin.
func protected(t testing.TB, cas []*pki.CA, more string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("node: {revocation_servers: [127.0.0.0/8]}\nca_certificates:\n")
	var ids []string
	for i, ca := range cas {
		id := fmt.Sprintf("0855b320-0dd2-547d-891d-%012d", i)
		ids = append(ids, id)
		fmt.Fprintf(&b, "  - {id: %s, cert: %s}\n", id, strconv.Quote(string(ca.CertPEM())))
	}
	fmt.Fprintf(&b, `
consumers: [{username: joe}]
plugins: [{name: request-termination, config: {status_code: 200, message: in}}]
routes:
  - {name: open, hosts: [open.test]}
  - {name: other, hosts: [other.test], plugins: [{name: mtls-auth, config: {ca_certificates: [%[2]s], consumer_by: [custom_id]}}]}
  - {name: wild, hosts: ["*.wild.test"], plugins: [{name: mtls-auth, config: {ca_certificates: [%[1]s]}}]}
  - {name: shop, hosts: [shop.test], plugins: [{name: mtls-auth, config: {ca_certificates: [%[1]s]%[3]s}}]}
`, ids[0], ids[len(ids)-1], more)
	return b.String()
}

// visit is a connection of a client.
type visit struct {
	t    testing.TB
	conn *tls.Conn
	in   *bufio.Reader
}

// sessions keeps the last session under one name, whatever server it is of, as a
// client does that wants to pass for another.
type sessions struct{ last *tls.ClientSessionState }

func (s *sessions) Get(string) (*tls.ClientSessionState, bool)    { return s.last, s.last != nil }
func (s *sessions) Put(_ string, session *tls.ClientSessionState) { s.last = session }

func visitAs(t *testing.T, e *testkit.Edge, sni string, who *pki.Pair, kept tls.ClientSessionCache) *visit {
	t.Helper()
	conn := visitOver(dialAt(t, e.At("https")), sni, who, kept)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &visit{t, conn, bufio.NewReader(conn)}
}

// visitOver returns a client's end of TLS that has not shaken hands yet.
func visitOver(socket net.Conn, sni string, who *pki.Pair, kept tls.ClientSessionCache) *tls.Conn {
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: sni, ClientSessionCache: kept}
	if who != nil {
		pair := who.TLS()
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return tls.Client(socket, cfg)
}

// ask sends a request and returns the status of its answer.
func (v *visit) ask(host string) int {
	v.t.Helper()
	_ = v.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(v.conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		v.t.Fatal(err)
	}
	r, err := http.ReadResponse(v.in, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	return r.StatusCode
}

func (v *visit) want(what, host string, status int) {
	v.t.Helper()
	if got := v.ask(host); got != status {
		v.t.Errorf("%s: answered %d, want %d", what, got, status)
	}
}

// A session is resumed only under what was asked of the client when it began: not
// that of an open name for a protected one, nor that of one authority's name for
// another's. What is resumed is verified again.
func TestMTLSResumption(t *testing.T) {
	ours, theirs := pki.NewCA(t, "Ours"), pki.NewCA(t, "Theirs")
	e := testkit.StartEdge(t, protected(t, []*pki.CA{ours, theirs}, ""))
	joe, stranger := ours.Client("joe"), theirs.Client("joe")
	tests := []struct {
		name    string
		first   string
		who     *pki.Pair // on the first connection; nobody on the second
		second  string
		resumed bool
		status  int
	}{
		{"the same name", "shop.test", &joe, "shop.test", true, 200},
		{"an open name", "open.test", &joe, "shop.test", false, 401},
		{"another authority's", "other.test", &joe, "shop.test", false, 401},
		{"another authority's certificate", "other.test", &stranger, "shop.test", false, 401},
		{"a bad certificate", "shop.test", &stranger, "shop.test", true, 401},
		{"none", "shop.test", nil, "shop.test", true, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kept := new(sessions)
			visitAs(t, e, tt.first, tt.who, kept).ask(tt.first)
			if kept.last == nil {
				t.Fatal("no ticket came")
			}
			v := visitAs(t, e, tt.second, nil, kept)
			if got := v.conn.ConnectionState().DidResume; got != tt.resumed {
				t.Errorf("resumed: %v, want %v", got, tt.resumed)
			}
			v.want("the second connection", tt.second, tt.status)
		})
	}
}

// A connection serves only hosts whose clients are asked the same.
func TestMTLSMisdirected(t *testing.T) {
	ours, theirs := pki.NewCA(t, "Ours"), pki.NewCA(t, "Theirs")
	e := testkit.StartEdge(t, protected(t, []*pki.CA{ours, theirs}, ""))
	joe := ours.Client("joe")
	open := visitAs(t, e, "open.test", &joe, nil)
	open.want("the open host", "open.test", 200)
	for _, host := range []string{"shop.test", "SHOP.test", "shop.test:8443", "shop.test.", "Shop.Test.:443", "a.wild.test", "A.b.Wild.test"} {
		open.want("the protected host", host, 421)
	}
	shop := visitAs(t, e, "shop.test", &joe, nil)
	shop.want("the protected host", "shop.test", 200)
	shop.want("the open host", "open.test", 421)
	shop.want("another authority's host", "other.test", 421)
	shop.want("the protected host once more", "shop.test", 200)
	visitAs(t, e, "SHOP.test", &joe, nil).want("the server name in capitals", "shop.test", 200)
	wild := visitAs(t, e, "a.wild.test", &joe, nil)
	wild.want("a wildcard's name", "a.wild.test", 200)
	wild.want("another name of the wildcard", "B.wild.test", 200)
	wild.want("the open host", "open.test", 421)
	visitAs(t, e, "", &joe, nil).want("no server name", "shop.test", 421)
}

// What a connection was believed is asked again when an authority of the same id
// is another one, when its consumer has gone, and when it was added.
func TestMTLSReload(t *testing.T) {
	ours, theirs := pki.NewCA(t, "Ours"), pki.NewCA(t, "Theirs")
	before := protected(t, []*pki.CA{ours, theirs}, "")
	e := testkit.StartEdge(t, before)
	joe := ours.Client("joe")
	v := visitAs(t, e, "shop.test", &joe, nil)
	v.want("at first", "shop.test", 200)
	use := func(yaml string) {
		t.Helper()
		if err := e.Use(yaml); err != nil {
			t.Fatal(err)
		}
	}
	use(strings.Replace(before, "username: joe", "username: ann", 1))
	v.want("without the consumer", "shop.test", 401)
	use(before)
	v.want("with the consumer", "shop.test", 200)
	use(protected(t, []*pki.CA{theirs, ours}, ""))
	v.want("with another authority", "shop.test", 401)
	use(before)
	visitAs(t, e, "shop.test", &joe, nil).want("at last", "shop.test", 200)
}

// A certificate that is revoked while its connection lives is refused on it, and
// so is one of which nobody says whether it is, if that must be known.
func TestMTLSRevocation(t *testing.T) {
	ca := pki.NewCA(t, "Ours")
	server := pki.NewServer(t)
	var revoked atomic.Pointer[x509.Certificate]
	at := server.Handle("/ocsp", func(w http.ResponseWriter, r *http.Request) {
		var list []*x509.Certificate
		if c := revoked.Load(); c != nil {
			list = append(list, c)
		}
		ca.Answers(t, nil, nil, list...)(w, r)
	})
	joe := ca.Client("joe", pki.OCSPAt(at))
	silent := ca.Client("joe", pki.OCSPAt("http://127.0.0.1:1/"))
	for _, mode := range []string{"SKIP", "IGNORE_CA_ERROR", "STRICT"} {
		t.Run(mode, func(t *testing.T) {
			revoked.Store(nil)
			e := testkit.StartEdge(t, protected(t, []*pki.CA{ca}, ", cert_cache_ttl: 1, http_timeout: 5000, revocation_check_mode: "+mode))
			v := visitAs(t, e, "shop.test", &joe, nil)
			v.want("a good certificate", "shop.test", 200)
			status := map[string]int{"SKIP": 200, "IGNORE_CA_ERROR": 200, "STRICT": 401}[mode]
			visitAs(t, e, "shop.test", &silent, nil).want("nobody says", "shop.test", status)
			revoked.Store(joe.Cert)
			want := 401
			if mode == "SKIP" {
				want = 200
			}
			deadline := time.Now().Add(30 * time.Second)
			got := v.ask("shop.test")
			for got != want && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
				got = v.ask("shop.test")
			}
			if got != want {
				t.Errorf("revoked: answered %d, want %d", got, want)
			}
		})
	}
}
