package telemetry

import (
	"encoding/json"
	"net/http"
	"runtime/metrics"
	"time"
)

// StatusSource tells the status listener how the edge is. Its methods are
// called by any number of goroutines and return at once.
type StatusSource interface {
	Status() Status
	Upstreams() []UpstreamStatus // in a stable order
	Certificates() []CertificateStatus
}

// Status is one look at the edge.
type Status struct {
	Server     ServerStatus
	NodeID     string    // of this process among others
	ConfigHash string    // 32 hex digits; all zero for an empty configuration
	LoadedAt   time.Time // when the serving configuration was swapped in

	// LastError holds every error of the last configuration that was refused,
	// and is empty once a later one was accepted.
	LastError   string
	LastErrorAt time.Time

	ECH *ECHStatus // nil: hellos are not encrypted

	Draining bool
	NotReady string // why /status/ready says 503; empty while ready

	ACME *ACMEStatus // nil: no certificates are ordered
}

// ACMEStatus is how it stands with certificates that are ordered.
type ACMEStatus struct {
	Names    map[string]int `json:"names"`    // how many are in each state
	Problems []ACMEProblem  `json:"problems"` // those that failed, at most MaxACMEProblems
}

// MaxACMEProblems bounds what /status tells.
const MaxACMEProblems = 100

// ACMEProblem is a name that could not be ordered.
type ACMEProblem struct {
	Name    string     `json:"name"`
	Error   string     `json:"error"`
	ErrorAt *time.Time `json:"error_at"`
	Again   *time.Time `json:"again"`
	Until   *time.Time `json:"until"` // when the certificate ends that is served meanwhile; null: none is
}

// ECHStatus is what has to stand in DNS for Encrypted Client Hello.
type ECHStatus struct {
	PublicName string    `json:"public_name"`
	ConfigList []byte    `json:"config_list"` // the SvcParamKey "ech" of HTTPS records (RFC 9848); base64 in JSON
	Until      time.Time `json:"until"`       // when another will be offered
}

// ServerStatus counts connections and requests as Kong's /status does.
type ServerStatus struct {
	Active        int64  `json:"connections_active"`
	Accepted      uint64 `json:"connections_accepted"`
	Handled       uint64 `json:"connections_handled"` // accepted and not refused
	Reading       int64  `json:"connections_reading"` // a request head is being read
	Writing       int64  `json:"connections_writing"` // a request is being served
	Waiting       int64  `json:"connections_waiting"` // idle between requests
	TotalRequests uint64 `json:"total_requests"`
}

// statusBody is the answer to GET /status: Kong's members, and Bulwark's own
// under a name of their own.
type statusBody struct {
	Server            ServerStatus `json:"server"`
	Memory            memoryBody   `json:"memory"`
	Database          databaseBody `json:"database"`
	ConfigurationHash string       `json:"configuration_hash"`
	Bulwark           bulwarkBody  `json:"bulwark"`
}

// memoryBody keeps Kong's members present and empty, since there is no Lua
// here, and tells the memory there is.
type memoryBody struct {
	WorkersLuaVMs  []struct{}          `json:"workers_lua_vms"`
	LuaSharedDicts map[string]struct{} `json:"lua_shared_dicts"`
	Go             goMemoryBody        `json:"go"`
}

// goMemoryBody is in bytes.
type goMemoryBody struct {
	HeapObjects uint64 `json:"heap_objects_bytes"`
	Stacks      uint64 `json:"stacks_bytes"`
	Total       uint64 `json:"total_bytes"` // mapped by the Go runtime and not given back
	Goroutines  uint64 `json:"goroutines"`
}

type databaseBody struct {
	Reachable bool `json:"reachable"`
}

type bulwarkBody struct {
	Version  string     `json:"version"`
	Draining bool       `json:"draining"`
	Config   configBody `json:"config"`

	ECH *ECHStatus `json:"ech,omitempty"`

	Upstreams upstreamsBody `json:"upstreams"`

	ACME *ACMEStatus `json:"acme,omitempty"`
}

type configBody struct {
	Hash        string     `json:"hash"`
	LoadedAt    *time.Time `json:"loaded_at"`
	LastError   *string    `json:"last_error"`
	LastErrorAt *time.Time `json:"last_error_at"`
}

type messageBody struct {
	Message string `json:"message"`
}

// emptyConfigHash is what Kong says before any configuration is loaded.
const emptyConfigHash = "00000000000000000000000000000000"

// StatusHandler answers GET and HEAD on /status, /status/ready,
// /status/certificates, /metrics and /upstreams/{name}/health, and everything
// else with 404 or 405 in Kong's shape. The handler scrape, that of Metrics,
// serves /metrics.
func StatusHandler(src StatusSource, scrape http.Handler, version string) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, h http.HandlerFunc) {
		mux.Handle(path, reading(h))
		mux.Handle(path+"/{$}", reading(h)) // Kong accepts one trailing slash
	}
	handle("/status", func(w http.ResponseWriter, _ *http.Request) {
		b := describe(src.Status(), version)
		b.Bulwark.Upstreams = describeUpstreams(src.Upstreams())
		writeJSON(w, http.StatusOK, b)
	})
	handle("/status/ready", func(w http.ResponseWriter, _ *http.Request) {
		s := src.Status()
		switch {
		case s.Draining:
			writeJSON(w, http.StatusServiceUnavailable, messageBody{"draining"})
		case s.NotReady != "":
			writeJSON(w, http.StatusServiceUnavailable, messageBody{s.NotReady})
		default:
			writeJSON(w, http.StatusOK, messageBody{"ready"})
		}
	})
	handle("/metrics", scrape.ServeHTTP)
	handle("/upstreams/{upstream}/health", serveHealth(src))
	handle("/status/certificates", serveCertificates(src))
	handle("/status/certificates/{name}", serveCertificate(src))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, messageBody{"Not found"})
	})
	server := "bulwark/" + version
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", server)
		mux.ServeHTTP(w, r)
	})
}

// reading lets GET and HEAD pass and refuses the other methods.
func reading(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeJSON(w, http.StatusMethodNotAllowed, messageBody{"Method not allowed"})
			return
		}
		h(w, r)
	})
}

func describe(s Status, version string) statusBody {
	b := statusBody{
		Server:            s.Server,
		Memory:            memoryBody{WorkersLuaVMs: []struct{}{}, LuaSharedDicts: map[string]struct{}{}, Go: goMemory()},
		Database:          databaseBody{Reachable: true},
		ConfigurationHash: s.ConfigHash,
		Bulwark:           bulwarkBody{Version: version, Draining: s.Draining, ECH: s.ECH, ACME: s.ACME},
	}
	if b.ConfigurationHash == "" {
		b.ConfigurationHash = emptyConfigHash
	}
	c := &b.Bulwark.Config
	c.Hash = b.ConfigurationHash
	c.LoadedAt = known(s.LoadedAt)
	if s.LastError != "" {
		c.LastError = &s.LastError
		c.LastErrorAt = known(s.LastErrorAt)
	}
	return b
}

// known returns nil, which is JSON's null, for a time that never was.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// goMemory asks the runtime without stopping it.
func goMemory() goMemoryBody {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	return goMemoryBody{
		HeapObjects: samples[0].Value.Uint64(),
		Stacks:      samples[1].Value.Uint64(),
		Total:       samples[2].Value.Uint64() - samples[3].Value.Uint64(),
		Goroutines:  samples[4].Value.Uint64(),
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	// The bodies are structs of this file, which always marshal.
	b, err := json.Marshal(body)
	if err != nil {
		panic("BUG: marshalling a status body: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// A reader that left is no news.
	_, _ = w.Write(append(b, '\n'))
}
