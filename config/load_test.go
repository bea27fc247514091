package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// A file with many mistakes shows them all at once, in the order of its lines.
func TestWrongFile(t *testing.T) {
	src, err := os.ReadFile(filepath.Join("testdata", "wrong.yml"))
	if err != nil {
		t.Fatal(err)
	}
	from := testOrigin{env: map[string]string{
		"BULWARK_NODE_LGO_LEVEL":         "debug",
		"BULWARK_NODE_LIMITS_HEAD_BYTES": "3TB",
		"BULWARK_NODE_TRUSTED_IPS":       "[10.0.0.0/8, nowhere]",
		"BULWARK_NODE_DRAIN":             "30",
	}}.origin()
	from.Path = "wrong.yml"
	_, err = Load(src, newKinds(), from)
	if err == nil {
		t.Fatal("the file was accepted")
	}
	golden(t, "wrong.golden", err.Error()+"\n")
}

// A file that uses everything that is served, and the JSON of its entities.
func TestFullFile(t *testing.T) {
	src, err := os.ReadFile(filepath.Join("testdata", "full.yml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(src, newKinds(), testOrigin{env: map[string]string{"REDIS_PASSWORD": "hunter2", "TICKET_SECRET": strings.Repeat("hunter2", 5)}}.origin())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	line := func(v any) { b.WriteString(toJSON(t, v) + "\n") }
	line(c.Node)
	for _, e := range c.Services.All() {
		line(e)
	}
	for _, e := range c.Routes.All() {
		line(e)
	}
	for _, e := range c.Upstreams.All() {
		line(e)
	}
	for _, e := range c.Targets.All() {
		line(*e) // a value is marshalled like a pointer
	}
	for _, e := range c.Consumers.All() {
		line(e)
	}
	for _, e := range c.Plugins.All() {
		line(e)
	}
	for _, e := range c.MTLSAuthCredentials.All() {
		line(e)
	}
	for _, e := range c.HeaderCertAuthCredentials.All() {
		line(e)
	}
	golden(t, "full.golden", b.String())
	if strings.Contains(b.String(), "hunter2") {
		t.Error("a secret was marshalled")
	}
	n := 0
	for range c.Keys() {
		n++
	}
	if want := strings.Count(b.String(), "\n") - 1; n != want {
		t.Errorf("there are %d keys for %d entities", n, want)
	}
}

func TestEmptyFileHasDefaults(t *testing.T) {
	c := mustLoad(t, "")
	want := []string{"http :8000", "https :8443"}
	var got []string
	for _, l := range c.Node.Listeners {
		got = append(got, l.Name+" "+l.Address.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	if got := c.Node.Status.String(); got != "127.0.0.1:8007" {
		t.Errorf("status is %s", got)
	}
	if !c.Node.Admin.Off {
		t.Errorf("admin is %s", c.Node.Admin)
	}
	if l := c.Node.Limits; l.HeadBytes != 16<<10 || l.HeaderTimeout.Std().Seconds() != 10 || l.BodyBytes != 0 {
		t.Errorf("limits are %+v", l)
	}
}

// JSON is read like YAML.
func TestLoadJSON(t *testing.T) {
	src := `{"_format_version": "3.0", "services": [
  {"name": "a", "host": "h", "port": "80"}
]}`
	got := loadErrors(t, []byte(src), testOrigin{})
	want := []string{`2:38: services[0].port: expected an integer (found "80"; expected decimal digits, without quotes)`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	c, err := Load([]byte(strings.ReplaceAll(src, `"80"`, `81`)), nil, testOrigin{}.origin())
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Services.All()[0]; s.Port != 81 {
		t.Errorf("port is %d", s.Port)
	}
}

func TestLookup(t *testing.T) {
	c := mustLoad(t, `
services: [{name: a, host: h}]
plugins: [{name: echo, instance_name: mine}]
`)
	s, ok := c.Services.Lookup("a")
	if !ok || s.Name != "a" {
		t.Fatalf("looking up service a gave %v, %v", s, ok)
	}
	if got, ok := c.Services.Get(s.ID); !ok || got != s {
		t.Errorf("getting service a by id gave %v, %v", got, ok)
	}
	if _, ok := c.Services.Lookup("b"); ok {
		t.Error("service b exists")
	}
	if p, ok := c.Plugins.Lookup("mine"); !ok || p.Name != "echo" {
		t.Errorf("looking up the plugin by its instance name gave %v, %v", p, ok)
	}
}

// References are found by name and by id, wherever both stand.
func TestReferences(t *testing.T) {
	const id = "0855b320-0dd2-547d-891d-601e9b38647f"
	c := mustLoad(t, `
routes:
- {name: by-name, paths: [/], service: a}
- {name: by-id, paths: [/], service: `+id+`}
- {name: by-record, paths: [/], service: {id: `+strings.ToUpper(id)+`}}
- {name: by-name-record, paths: [/], service: {name: a}}
- {name: null-service, paths: [/], service: null}
services:
- {name: a, id: `+id+`, host: h, routes: [{name: nested, paths: [/]}, {name: nested-named, paths: [/], service: a}]}
plugins:
- {name: echo, route: by-name, consumer: joe, config: {group: joe}}
consumers: [{username: joe}]
`)
	for _, r := range c.Routes.All() {
		want := id
		if r.Name == "null-service" {
			want = ID{}.String()
		}
		if got := r.Service.ID.String(); got != want {
			t.Errorf("route %s goes to service %s", r.Name, got)
		}
	}
	p := c.Plugins.All()[0]
	joe, _ := c.Consumers.Lookup("joe")
	if p.Route.IsZero() || p.Consumer.ID != joe.ID || p.Config.(*echoConfig).Group.ID != joe.ID {
		t.Errorf("the plugin is %s", toJSON(t, p))
	}
}

func TestMigration(t *testing.T) {
	const body = `
routes: [{name: top, paths: ["/a/../b%41", "/re.+"]}]
services: [{name: s, host: h, routes: [{name: nested, paths: ["/x(%2e|%2F|%41)"]}]}]
`
	for version, want := range map[string][]string{
		"1.1": {"/bA", "~/re.+", `~/x(\.|%2F|A)`},
		"2.1": {"/bA", "~/re.+", `~/x(\.|%2F|A)`},
	} {
		t.Run(version, func(t *testing.T) {
			c, err := Load([]byte(`_format_version: "`+version+`"`+body), nil, testOrigin{}.origin())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range c.Routes.All() {
				got = append(got, r.Paths...)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
		})
	}
	bad := loadErrors(t, []byte("_format_version: \"2.1\"\nroutes: [{paths: [\"/re.+(\"]}]"), testOrigin{})
	if len(bad) != 1 || !strings.Contains(bad[0], "invalid regex: '/re.+('") {
		t.Errorf("a bad expression gave %q", bad)
	}
}

// An expression and its priority are a part of a route's JSON, which other
// routes do not have.
func TestExpressionIsMarshalled(t *testing.T) {
	src := `{"_format_version": "3.0", "node": {"router_flavor": "expressions"}, "routes": [%s]}`
	load := func(routes string) *Config {
		c, err := Load(fmt.Appendf(nil, src, routes), nil, testOrigin{}.origin())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load(`{"expression": "http.path ^= \"/a\"", "priority": 7}, {"paths": ["/"]}`)
	var written []string
	for _, r := range c.Routes.All() {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		written = append(written, string(text))
	}
	if !strings.Contains(written[0], `"expression":"http.path ^= \"/a\"","priority":7,`) {
		t.Errorf("the route is written as %s", written[0])
	}
	if strings.Contains(written[1], "expression") || strings.Contains(written[1], `"priority"`) {
		t.Errorf("a route without an expression is written as %s", written[1])
	}
	again := load(strings.Join(written, ","))
	e, err := again.Routes.All()[0].ParsedExpression()
	if err != nil || e.String() != `http.path ^= "/a"` || again.Routes.All()[0].Priority != 7 {
		t.Errorf("read again: %v, %v", e, err)
	}
}

func TestVault(t *testing.T) {
	o := testOrigin{
		env: map[string]string{"MY_HOST": "api.internal", "DB": `{"host":"db.internal","short":"h5","port":5,"list":[]}`},
		files: map[string]string{
			"/etc/bulwark/token": "s3cret\n", "/run/host": "abs.internal\r\n", "/etc/bulwark/two": "a\n\n",
		},
	}
	load := func(t *testing.T, ref string) (*Config, []string) {
		t.Helper()
		src := versioned("services: [{name: s, host: " + quoted(t, ref) + "}]\nplugins: [{name: echo, config: {token: '{vault://file/token}'}}]")
		if errs := loadErrors(t, src, o); errs != nil {
			return nil, errs
		}
		c, err := Load(src, newKinds(), o.origin())
		if err != nil {
			t.Fatal(err)
		}
		return c, nil
	}
	for ref, want := range map[string]string{
		"{vault://env/my-host}":         "api.internal",
		"{vault://env/db/host}":         "db.internal",
		"{vault://file//run/host}":      "abs.internal",
		"{vault://file/../../run/host}": "abs.internal",
	} {
		t.Run(ref, func(t *testing.T) {
			c, errs := load(t, ref)
			if errs != nil {
				t.Fatal(errs)
			}
			if got := c.Services.All()[0].Host; got != want {
				t.Errorf("host is %q, want %q", got, want)
			}
			if got := toJSON(t, c.Services.All()[0]); !strings.Contains(got, quoted(t, ref)) || strings.Contains(got, `"`+want) {
				t.Errorf("the marshalled service shows the value: %s", got)
			}
			p := c.Plugins.All()[0]
			if got := p.Config.(*echoConfig).Token.Reveal(); got != "s3cret" {
				t.Errorf("token is %q", got)
			}
			if !slices.Contains(c.Files, "/etc/bulwark/token") {
				t.Errorf("files are %q", c.Files)
			}
		})
	}
	for ref, want := range map[string]string{
		"{vault://env/none}":      `environment variable "NONE" is not set; set it before the edge is started`,
		"{vault://env/my-host/x}": `environment variable "MY_HOST" does not hold a JSON object`,
		"{vault://env/db/x}":      `the JSON object in environment variable "DB" has no key "x"`,
		"{vault://env/db/list}":   `key "list" of the JSON object in environment variable "DB" is not a string`,
		"{vault://env/}":          `invalid reference: expected {vault://env/name} or {vault://env/name/key}`,
		"{vault://file/}":         `invalid reference: expected {vault://file/path}`,
		"{vault://file/none}":     `file "/etc/bulwark/none" does not exist; create it or correct the path`,
		"{vault://aws/x}":         `vault "aws" is not served by this version of Bulwark`,
		"{vault://file/two}":      `invalid value: {vault://file/two}`,
	} {
		t.Run(ref, func(t *testing.T) {
			_, errs := load(t, ref)
			if len(errs) != 1 || !strings.HasPrefix(errs[0], "2:28: services[0].host: "+want+" (found "+quoted(t, ref)) {
				t.Errorf("errors are %q, want %q", errs, want)
			}
		})
	}
}

func TestVaultFileErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		read func(string) ([]byte, error)
		want string
	}{
		"permission": {func(string) ([]byte, error) { return nil, fs.ErrPermission }, `may not be read by this user`},
		"other":      {func(string) ([]byte, error) { return nil, errors.New("disk on fire") }, `reading file "/etc/bulwark/x": disk on fire`},
		"too big":    {func(string) ([]byte, error) { return make([]byte, maxVaultFile+1), nil }, `at most 1048576 are read`},
	} {
		t.Run(name, func(t *testing.T) {
			from := testOrigin{}.origin()
			from.ReadFile = tt.read
			_, err := Load(versioned("services: [{host: '{vault://file/x}'}]"), nil, from)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	src := versioned("node:\n  log: {access: /var/log/a}\n  limits: {head_fields: 50}")
	c, err := Load(src, nil, testOrigin{env: map[string]string{
		"BULWARK_NODE_LOG_LEVEL":          "debug",
		"BULWARK_NODE_LIMITS_HEAD_BYTES":  "8KiB",
		"BULWARK_NODE_LIMITS_BODY_BYTES":  "1000",
		"BULWARK_NODE_LIMITS_HEAD_FIELDS": "60",
		"BULWARK_NODE_STATUS":             "off",
		"BULWARK_NODE_DRAIN":              "",
		"BULWARK_NODE_LISTENERS":          `[{name: a, address: "[::1]:443", serve: https, reuse_port: true}]`,
		"BULWARK_OTHER":                   "x",
	}}.origin())
	if err != nil {
		t.Fatal(err)
	}
	n := c.Node
	got := []any{n.Log.Level, n.Log.Access, n.Limits.HeadBytes, n.Limits.BodyBytes, n.Limits.HeadFields, n.Status.Off, n.Drain.String(), len(n.Listeners), n.Listeners[0].Address.String()}
	want := []any{"debug", "/var/log/a", n.Limits.TargetBytes, n.Limits.BodyBytes, 60, true, "30s", 1, "[::1]:443"}
	if n.Limits.HeadBytes != 8192 || n.Limits.BodyBytes != 1000 {
		t.Errorf("limits are %+v", n.Limits)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		":80": ":80", "*:80": ":80", "127.0.0.1:0": "127.0.0.1:0", "[::1]:443": "[::1]:443",
		"localhost:80": "127.0.0.1:80", "off": "off", "[::ffff:10.0.0.1]:1": "10.0.0.1:1",
		"80": "", "example.com:80": "", ":99999": "", "": "", "::1:80": "",
	} {
		var a Address
		err := a.UnmarshalText([]byte(in))
		if (err == nil) != (want != "") || err == nil && a.String() != want {
			t.Errorf("%q gave %s, %v", in, a, err)
		}
	}
}
