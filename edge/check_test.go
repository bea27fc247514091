package edge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

// checked returns what Check says of a configuration without errors of its own.
func checked(t *testing.T, yaml string) error {
	t.Helper()
	cfg, err := config.Load([]byte("_format_version: \"3.0\"\n"+yaml), catalog.All(), config.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	return edge.Check(cfg, edge.Options{Kinds: catalog.All(), Version: "test"})
}

// What only compiling finds is found by a check too, all of it at once.
func TestCheckTellsEverything(t *testing.T) {
	root, leaf := pki.NewCA(t, "Ours"), pki.NewCA(t, "Root").Intermediate("Middle")
	err := checked(t, fmt.Sprintf(`node:
  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https, plugins: [{name: ip-restriction, config: {allow_files: [/nowhere/two]}}]}
  tls:
    policies:
    - {name: unread, client_auth: {mode: require, ca_pem: %q, revocation: strict, crl_files: [/nowhere/list]}}
    - {name: endless, client_auth: {mode: require, ca_pem: %q}}
plugins:
- {name: ip-restriction, config: {allow_files: [/nowhere/one]}}
- {name: waf, config: {directives: "SecNothing On"}}
`, pki.PEM(root.Cert), pki.PEM(leaf.Cert)))
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	for _, want := range []string{`TLS policy "unread": reading revocation list 1: open /nowhere/list`, `TLS policy "endless"`, `open /nowhere/one`, `building plugin "waf"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s\n%v", want, err)
		}
	}
	err = checked(t, `node:
  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https, plugins: [{name: ip-restriction, config: {allow_files: [/nowhere/two]}}]}
`)
	if err == nil || !strings.Contains(err.Error(), `listener "https"`) {
		t.Errorf("of a listener's plugin: %v", err)
	}
}

// A check leaves nothing behind.
func TestCheckWritesNothing(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := checked(t, fmt.Sprintf(`node:
  listeners: [{name: https, address: "127.0.0.1:0", serve: https}]
  log: {access: %q, waf: %q}
  acme: {terms_accepted: true, email: joe@example.com, storage: %q, domains: [shop.example.com], cas: [{directory: "https://127.0.0.1:1/dir"}]}
  tls: {local_ca: {names: [localhost], directory: %q}}
plugins:
- {name: file-log, config: {path: %q}}
- {name: waf, config: {mode: block}}
`, at("access"), at("waf"), at("acme"), at("ca"), at("file-log")))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string(nil), names); diff != "" {
		t.Errorf("it has written (-want +got):\n%s", diff)
	}
}
