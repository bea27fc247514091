package waf

import (
	"iter"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
)

const (
	mask      = "***"
	minSecret = 4 // bytes; shorter values stand in too much that is none
)

// secretFields carry secrets whatever their value; secretNames are names of
// parameters, cookies and fields that do, and secretParts what stands in such
// names. All in lower case.
var (
	secretFields = []string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token", "x-csrf-token"}
	secretNames  = []string{"pwd", "pass", "pin", "otp", "cvv", "cvc", "sid", "jwt", "auth", "session", "sessionid", "ssn", "card", "key"}
	secretParts  = []string{"password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "api_key", "api-key", "credential", "creditcard", "card_number", "cardnumber", "private_key", "access_key"}
)

// isSecretName reports whether what bears the name is nothing to be told.
func isSecretName(name string) bool {
	name = strings.ToLower(name)
	if slices.Contains(secretFields, name) || slices.ContainsFunc(secretParts, func(p string) bool { return strings.Contains(name, p) }) {
		return true
	}
	// Of JSON and PHP's arrays the last part is the name: json.user.pass, user[pass].
	last := strings.TrimRight(name, "]")
	if dot := strings.LastIndexAny(last, ".["); dot >= 0 {
		last = last[dot+1:]
	}
	return slices.Contains(secretNames, last)
}

// isSecret reports whether a value of a variable is nothing to be told.
func isSecret(variable, key string) bool {
	switch variable {
	case "REQUEST_COOKIES":
		return true
	case "MATCHED_VARS": // its keys are variables with their keys
		variable, key, _ = strings.Cut(key, ":")
		return variable != "MATCHED_VARS" && isSecret(variable, key)
	case "REQUEST_HEADERS", "RESPONSE_HEADERS", "ARGS", "ARGS_GET", "ARGS_POST", "RESPONSE_ARGS":
		return isSecretName(key)
	}
	return false
}

// secrets are values of an exchange that must stand nowhere in its event.
type secrets struct {
	known []string // longest first; of those above maskMargin only the beginning
	all   bool     // there are more than are known
	left  int      // bytes that may still be searched
}

// secrets finds them: by the fields, cookies and parameters they came in, and
// what looks like one within others.
func (i *Inspection) secrets() *secrets {
	s := &secrets{left: maxMasked}
	seen := make(map[string]bool)
	add := func(value string) {
		value = strings.Trim(value, `"'`)
		value = value[:min(len(value), maskMargin)]
		if len(value) >= minSecret && value != mask && len(seen) <= maxSecrets {
			seen[value] = true
		}
	}
	within := func(text string) {
		text = text[:min(len(text), maxSearched)]
		if len(seen) > maxSecrets || !strings.ContainsAny(text, "=:") || !s.take(len(text)) {
			return
		}
		for at, end := range secretPairs(text) {
			if add(text[at:end]); len(seen) > maxSecrets {
				return
			}
		}
	}
	v := i.tx.Variables()
	for _, c := range []collection.Collection{v.RequestHeaders(), v.RequestCookies(), v.ResponseHeaders(), v.Args()} {
		for _, d := range c.FindAll() {
			if isSecret(d.Variable().Name(), d.Key()) {
				add(d.Value())
				if strings.HasPrefix(d.Variable().Name(), "ARGS") { // as a target or a form may have it
					add(url.QueryEscape(d.Value()))
				}
			}
			within(d.Key())
			within(d.Value())
		}
	}
	within(i.target)
	within(v.RequestBody().Get())
	s.all = s.all || len(seen) > maxSecrets
	for value := range seen {
		s.known = append(s.known, value)
	}
	// A longer one may contain a shorter one, which must not spoil it first.
	slices.SortFunc(s.known, func(a, b string) int { return len(b) - len(a) })
	return s
}

// take reports whether n more bytes may be searched. If not, nobody knows what
// secrets there are, and nothing is told.
func (s *secrets) take(n int) bool {
	if s.left -= n; s.left < 0 {
		s.all = true
	}
	return !s.all
}

// conceal cuts a text to max bytes and masks the secrets in it: those that are
// known by their value, and what looks like one.
func (s *secrets) conceal(text string, max int) string {
	if text == "" {
		return ""
	}
	window := min(len(text), max+maskMargin)
	if !s.take(window) {
		return mask
	}
	isCut := window < len(text)
	text = text[:window]
	for _, secret := range s.known {
		if before, _, ok := strings.Cut(text, secret); ok && len(secret) == maskMargin {
			text, isCut = before+mask, false // where it ends is not known
		}
		text = strings.ReplaceAll(text, secret, mask)
	}
	text = maskPairs(text)
	if isCut { // the window's end may hold the beginning of a secret
		return cut(text, min(max, len(text)-min(len(text), maskMargin)))
	}
	return cut(text, max)
}

// maskPairs masks the values of secret parameters in a text.
func maskPairs(text string) string {
	var out strings.Builder
	last := 0
	for at, end := range secretPairs(text) {
		out.WriteString(text[last:at])
		out.WriteString(mask)
		last = end
	}
	if last == 0 {
		return text
	}
	out.WriteString(text[last:])
	return out.String()
}

// secretPairs finds the values of parameters with secret names in a text that
// holds many: a query, a form, JSON. It yields their places, text[at:end], in
// their order and apart from each other. Each byte is looked at a few times at the
// most, whatever the text is.
func secretPairs(text string) iter.Seq2[int, int] {
	return func(yield func(at, end int) bool) {
		floor, covered := 0, 0 // where a name can begin; up to where all is found
		for i := range len(text) {
			if text[i] != '=' && text[i] != ':' {
				continue
			}
			before := text[floor:i]
			if floor = i + 1; floor < covered || !endsInSecretName(before) {
				continue
			}
			if at, end := valueBehind(text, floor); end > at {
				if !yield(at, end) {
					return
				}
				covered = end
			}
		}
	}
}

// endsInSecretName reports whether a text ends with a name of a secret, as it stands
// there or percent-encoded, as forms and queries have it.
func endsInSecretName(text string) bool {
	name := nameBefore(text, "")
	if isSecretName(name) {
		return true
	}
	encoded := nameBefore(text, "%")
	if len(encoded) == len(name) {
		return false
	}
	plain := unescapeName(encoded)
	return isSecretName(plain) || isSecretName(nameBefore(plain, ""))
}

// unescapeName undoes percent-encoding where there is some, and leaves the rest.
func unescapeName(name string) string {
	out := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			if b, err := strconv.ParseUint(name[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(b))
				i += 2
				continue
			}
		}
		out = append(out, name[i])
	}
	return string(out)
}

// nameBefore returns the name that a text ends with, without blanks and a quote
// behind it. The bytes of more stand in names too.
func nameBefore(text, more string) string {
	text = strings.TrimRight(text, blanks)
	if n := len(text); n > 0 && (text[n-1] == '"' || text[n-1] == '\'') {
		text = text[:n-1]
	}
	begin := len(text)
	for begin > 0 && (isNameByte(text[begin-1]) || strings.IndexByte(more, text[begin-1]) >= 0) {
		begin--
	}
	return text[begin:]
}

// valueBehind returns the value that stands from an index on, behind blanks: a
// string in quotes, with them, or what goes up to the next parameter.
func valueBehind(text string, from int) (at, end int) {
	at = len(text) - len(strings.TrimLeft(text[from:], blanks))
	if at == len(text) {
		return at, at
	}
	if quote := text[at]; quote == '"' || quote == '\'' {
		for end = at + 1; end < len(text) && text[end] != quote; end++ {
			if text[end] == '\\' {
				end++
			}
		}
		return at, min(end+1, len(text))
	}
	if n := strings.IndexAny(text[at:], "&;,\"'}"+blanks); n >= 0 {
		return at, at + n
	}
	return at, len(text)
}

// blanks may stand around the sign between a name and its value.
const blanks = " \t\r\n\f\v"

func isNameByte(c byte) bool {
	return c == '_' || c == '.' || c == '-' || c == '[' || c == ']' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

var foundWithin = regexp.MustCompile(`found within ([A-Z_]+(?::[\w.\[\]-]{0,100})?)`)

// concealData masks the log data of a rule, which the Core Rule Set writes as
// "Matched Data: piece found within VARIABLE:key: value". If the value is a
// secret, so are its pieces, whatever has been done to them.
func (s *secrets) concealData(data string, hidden bool) string {
	if !hidden {
		return s.conceal(data, maxText)
	}
	if m := foundWithin.FindStringSubmatch(data[:min(len(data), maxText+maskMargin)]); m != nil {
		return "Matched Data: " + mask + " found within " + m[1] + ": " + mask
	}
	return mask
}
