package crs

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// largestReflection bounds what Reflector reads of a request.
const largestReflection = 8 << 20

// reflection is what a request to /reflect asks for.
type reflection struct {
	Status      int               `json:"status"`
	Headers     map[string]string `json:"headers"`
	Body        string            `json:"body"`
	EncodedBody string            `json:"encodedBody"` // Base64; used if there is no Body.
	LogMessage  string            `json:"logMessage"`  // For tools that read the server's log; there is none here.
}

// Reflector is the server that the suite wants behind what it tests, by the
// documented contract of the rule set's own (albedo): a POST to /reflect is
// answered as the JSON in its content says, everything else with an empty 200.
func Reflector(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestReflection))
	if r.Method != http.MethodPost || r.URL.Path != "/reflect" && !strings.HasPrefix(r.URL.Path, "/reflect/") {
		return
	}
	var want reflection
	if err == nil {
		err = json.Unmarshal(content, &want)
	}
	body := []byte(want.Body)
	if err == nil && want.Body == "" {
		body, err = base64.StdEncoding.DecodeString(want.EncodedBody)
	}
	if err != nil || want.Status != 0 && (want.Status < 200 || want.Status > 599) {
		http.Error(w, "this cannot be reflected", http.StatusBadRequest)
		return
	}
	for name, v := range want.Headers {
		w.Header().Add(name, v)
	}
	if want.Status != 0 {
		w.WriteHeader(want.Status)
	}
	_, _ = w.Write(body) // a client that has gone is the runner's to notice
}
