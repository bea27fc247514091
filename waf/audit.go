package waf

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/collection"
)

// Bounds of an audit record.
const (
	MaxAuditBody = 128 << 10 // bytes of a request's content, as sent

	maxAuditField  = 16 << 10 // bytes of a field's value, and of the request target
	maxAuditRecord = 1 << 20  // bytes of a record as JSON; above, the content is left out
)

// AuditSettings say what an audit record holds.
type AuditSettings struct {
	RequestFields  bool // part B
	RequestBody    bool // part C
	ResponseFields bool // part F
	Trailer        bool // part H: who made the record, and the error line of each match
	Matches        bool // part K

	KeepSecrets bool // values that the event masks stand in the record as they were
	Product     string
	Rulesets    []string
}

// AuditRecord is an exchange in the form of Coraza's audit log (JSON). Content that
// is no UTF-8 is in base64, which body_encoding tells.
type AuditRecord struct {
	Transaction AuditTransaction `json:"transaction"`
	Messages    []AuditMessage   `json:"messages,omitempty"`
}

// AuditTransaction is what an audit record tells of the exchange.
type AuditTransaction struct {
	Timestamp     string         `json:"timestamp"`
	UnixTimestamp int64          `json:"unix_timestamp"` // ns
	ID            string         `json:"id"`
	ClientIP      string         `json:"client_ip"`
	ClientPort    int            `json:"client_port"`
	HostIP        string         `json:"host_ip"`
	HostPort      int            `json:"host_port"`
	ServerID      string         `json:"server_id"`
	Request       *AuditRequest  `json:"request,omitempty"`
	Response      *AuditResponse `json:"response,omitempty"`
	Producer      *AuditProducer `json:"producer,omitempty"`
	Interrupted   bool           `json:"is_interrupted"`
}

// AuditRequest is the request of an audit record.
type AuditRequest struct {
	Method       string              `json:"method"`
	Protocol     string              `json:"protocol"`
	URI          string              `json:"uri"`
	HTTPVersion  string              `json:"http_version"`
	Headers      map[string][]string `json:"headers"` // by their names in lower case
	Body         string              `json:"body"`
	BodyEncoding string              `json:"body_encoding,omitempty"` // "base64"
	BodyCut      bool                `json:"body_cut,omitempty"`      // Body is the beginning, or left out
	Masked       bool                `json:"masked,omitempty"`        // values are *** that were not, or Body is left out for what may be in it
}

// AuditResponse is the response of an audit record.
type AuditResponse struct {
	Protocol string              `json:"protocol"`
	Status   int                 `json:"status"`
	Headers  map[string][]string `json:"headers"`
}

// AuditProducer tells what made an audit record.
type AuditProducer struct {
	Connector  string   `json:"connector"`
	RuleEngine string   `json:"rule_engine"`
	Rulesets   []string `json:"rulesets"`
}

// AuditMessage is a rule that matched.
type AuditMessage struct {
	Message string           `json:"message"`
	Error   string           `json:"error_message,omitempty"`
	Data    AuditMessageData `json:"data"`
}

// AuditMessageData is what a message tells of the rule.
type AuditMessageData struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	ID       int      `json:"id"`
	Msg      string   `json:"msg"`
	Data     string   `json:"data"`
	Severity string   `json:"severity"`
	Ver      string   `json:"ver"`
	Tags     []string `json:"tags"`
}

// Audit lets End make an audit record of the exchange, if it makes an event.
func (i *Inspection) Audit(s *AuditSettings) { i.audit = s }

// AuditBody hands over content of the request for the audit record, as it was sent,
// which is kept until End; whole says whether that is all of it.
func (i *Inspection) AuditBody(b []byte, whole bool) {
	i.auditBody, i.auditCut = b[:min(len(b), MaxAuditBody)], !whole || len(b) > MaxAuditBody
}

// Tells reports whether there is something to tell by now, so that End will make an
// event.
func (i *Inspection) Tells() bool {
	return i.always || i.verdict.Action != Pass || i.verdict.Err != nil || len(i.uninspected) > 0 || len(i.matched()) > 0
}

// record makes the audit record of an exchange that e tells of. The transaction is
// not closed yet, or gone after a panic.
func (i *Inspection) record(e *Event) *AuditRecord {
	s := i.audit
	now := time.Now()
	r := &AuditRecord{Transaction: AuditTransaction{
		Timestamp: now.Format("2006/01/02 15:04:05"), UnixTimestamp: now.UnixNano(), ID: e.RequestID,
		ClientIP: addrOf(i.conn.Client), ClientPort: int(i.conn.Client.Port()),
		HostIP: addrOf(i.conn.Server), HostPort: int(i.conn.Server.Port()), ServerID: e.ServerName,
		Interrupted: e.Action != Pass.String(),
	}}
	m := &masker{keep: s.KeepSecrets}
	if !m.keep {
		if m.secrets = i.secret; m.secrets == nil {
			m.secrets = &secrets{left: maxMasked}
		}
	}
	t := &r.Transaction
	t.Request = &AuditRequest{Method: e.Method, Protocol: i.proto, HTTPVersion: strings.TrimPrefix(i.proto, "HTTP/"), URI: m.value("", i.target, maxAuditField)}
	if s.RequestFields && i.tx != nil {
		t.Request.Headers = m.fields(i.tx.Variables().RequestHeaders())
	}
	switch {
	case !s.RequestBody:
	case len(i.auditBody) > 0 && !m.keep && !i.understood():
		t.Request.BodyCut, m.masked = true, true
	default:
		t.Request.setBody(m.value("", string(i.auditBody), MaxAuditBody), i.auditCut)
	}
	if t.Request.Masked = m.masked; s.ResponseFields && i.stage >= responseHead && i.tx != nil && i.status != 0 {
		t.Response = &AuditResponse{Protocol: i.responseProto, Status: i.status, Headers: m.fields(i.tx.Variables().ResponseHeaders())}
	}
	if s.Trailer {
		t.Producer = &AuditProducer{Connector: s.Product, RuleEngine: "On", Rulesets: s.Rulesets}
		if i.profile.settings.Mode == Detect {
			t.Producer.RuleEngine = "DetectionOnly"
		}
	}
	if s.Matches || s.Trailer {
		for k := range e.Matches {
			r.Messages = append(r.Messages, message(e, &e.Matches[k], s))
		}
	}
	return r
}

// understood reports whether the names and values in the content of the request, as
// it was sent, are known, so that the secrets among them can be found.
func (i *Inspection) understood() bool {
	if i.tx == nil || !i.parsed || i.tx.Variables().RequestBodyError().Get() == "1" {
		return false
	}
	for _, coding := range i.tx.Variables().RequestHeaders().Get("content-encoding") {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return false
		}
	}
	switch Processor(i.tx.Variables().RequestBodyProcessor().Get()) {
	case URLEncoded, Multipart, JSON:
		return true
	}
	return false // of XML, names are not told with the values
}

// message tells of a match.
func message(e *Event, m *Match, s *AuditSettings) (out AuditMessage) {
	if s.Matches {
		out.Message = m.Message
		out.Data = AuditMessageData{File: m.File, Line: m.Line, ID: m.Rule, Msg: m.Message, Data: m.Data, Severity: m.Severity, Ver: m.Version, Tags: m.Tags}
	}
	if s.Trailer {
		out.Error = strings.TrimSuffix(string(e.appendMatch(nil, m)), "\n")
	}
	return out
}

// setBody puts content in, as text if it is some.
func (r *AuditRequest) setBody(body string, isCut bool) {
	if r.Body, r.BodyCut = body, isCut; !utf8.ValidString(body) {
		r.Body, r.BodyEncoding = base64.StdEncoding.EncodeToString([]byte(body)), "base64"
	}
}

// Content returns the content of the request as it was recorded.
func (r *AuditRequest) Content() ([]byte, error) {
	if r.BodyEncoding == "base64" {
		return base64.StdEncoding.DecodeString(r.Body)
	}
	return []byte(r.Body), nil
}

// AppendJSON appends the record as one line of JSON, without a line's end.
func (r *AuditRecord) AppendJSON(b []byte) []byte {
	line := r.marshal()
	if len(line) > maxAuditRecord && r.Transaction.Request.Body != "" {
		r.Transaction.Request.Body, r.Transaction.Request.BodyEncoding, r.Transaction.Request.BodyCut = "", "", true
		line = r.marshal()
	}
	return append(b, line...)
}

func (r *AuditRecord) marshal() []byte {
	line, err := json.Marshal(r)
	if err != nil {
		panic("BUG: an audit record cannot be marshalled: " + err.Error())
	}
	return line
}

// masker masks what must not be told.
type masker struct {
	*secrets
	keep   bool
	masked bool // something was
}

// value returns what may be told of a value of at most max bytes that stands under
// a name.
func (m *masker) value(name, value string, max int) string {
	told := value
	switch {
	case m.keep:
		told = cut(value, max)
	case isSecretName(name):
		told = mask
	default:
		told = m.conceal(value, max)
	}
	m.masked = m.masked || told != value
	return told
}

// fields returns fields by their names in lower case, as Coraza does.
func (m *masker) fields(c collection.Collection) map[string][]string {
	all := make(map[string][]string)
	for _, d := range c.FindAll() {
		name := strings.ToLower(d.Key())
		all[name] = append(all[name], m.value(name, d.Value(), maxAuditField))
	}
	return all
}
