package waf

import (
	"io"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// formProcessor parses forms in place of Coraza's own processor, which keeps
// the values of one spelling of a name only: of "A=attack&a=x" the attack is
// lost at random, uninspected. Here every value stays, each with a name string
// of its own (see separator).
type formProcessor struct{}

// ProcessRequest makes ARGS_POST, REQUEST_BODY and REQUEST_BODY_LENGTH of a form.
// What is beyond the limit of arguments sets ARGUMENTS_LIMIT_REACHED.
func (formProcessor) ProcessRequest(r io.Reader, v plugintypes.TransactionVariables, o plugintypes.BodyProcessorOptions) error {
	var buf strings.Builder
	if _, err := io.Copy(&buf, r); err != nil {
		return err
	}
	body := buf.String()
	args := v.ArgsPost()
	count := 0
	for rest := body; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		if o.ArgumentLimit > 0 && count >= o.ArgumentLimit {
			set(v.ArgumentsLimitReached(), "1")
			break
		}
		count++
		name, value, _ := strings.Cut(pair, "=")
		args.Add(ownName(unescape(name)), unescape(value))
	}
	set(v.RequestBody(), body)
	set(v.RequestBodyLength(), strconv.Itoa(len(body)))
	return nil
}

// ProcessResponse does nothing: responses are no forms.
func (formProcessor) ProcessResponse(io.Reader, plugintypes.TransactionVariables, plugintypes.BodyProcessorOptions) error {
	return nil
}

// unescape undoes the escapes of a form, and leaves those that are broken as
// they stand, as Coraza does with queries.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c = byte(n)
				i += 2
			}
		}
		out.WriteByte(c)
	}
	return out.String()
}

// set writes a single variable, which Coraza's interface shows only to be read.
func set(variable any, value string) {
	if s, ok := variable.(settable); ok {
		s.Set(value)
	}
}
