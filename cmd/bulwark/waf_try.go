package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/l7"
	wafplugin "github.com/bulwark-edge/bulwark/plugins/waf"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/waf"
)

// Exit codes of the commands that try requests, beside 0.
const (
	exitRefused = 1 // the request would be refused, or another than before
	exitUsage   = 2 // nothing could be tried
)

func wafTryCommand() *cobra.Command {
	var o tryOptions
	cmd := &cobra.Command{
		Use:   "try REQUEST.http",
		Short: "Tell what the firewall would make of a request, without sending it",
		Long: `Tell what the firewall would make of a request, without sending it.

The file, - for the standard input, holds a request in HTTP/1.1: a head whose
lines end in CR LF or LF, an empty line, and content up to the end of the file.
Content-Length is set to what follows; chunked content is decoded. The request
goes through the router, or to the route that --route names, and the plugin waf
of that route inspects it by the configuration's rules. Nothing is sent or
logged, and no socket is opened; the rules have a directory for temporary files,
which is removed. No other plugin acts: one that would refuse or change the
request before the firewall sees it is not taken into account. Responses are not
tried.

The exit code is 0 if the request passes, 1 if it would be refused, and 2 if it
could not be tried: no route takes it, it is no request, the configuration has
errors. In mode detect requests pass; what mode block would do is told.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			refused, err := o.try(cmd, args[0])
			switch {
			case err != nil:
				return exitError{exitUsage, err}
			case refused:
				return exitError{exitRefused, errSaid}
			}
			return nil
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.route, "route", "", "name or id of the route that takes the request, whatever it matches")
	cmd.Flags().StringVar(&o.client, "client", "192.0.2.1", "address of the client")
	cmd.Flags().BoolVar(&o.tls, "tls", false, "the request comes within TLS, for the server that Host names")
	return cmd
}

// tryOptions are what requests are tried by.
type tryOptions struct {
	config string
	json   bool
	route  string
	client string
	tls    bool
}

func (o *tryOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.config, "config", "c", "/etc/bulwark/bulwark.yaml", "configuration file")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exitError{exitUsage, err} })
}

// try tries the request of a file, and reports whether it would be refused.
func (o *tryOptions) try(cmd *cobra.Command, path string) (refused bool, err error) {
	client, err := netip.ParseAddr(o.client)
	if err != nil {
		return false, fmt.Errorf("reading --client: %w", err)
	}
	raw, err := readRequest(path, cmd.InOrStdin())
	if err != nil {
		return false, err
	}
	r, err := o.rehearse(cmd.ErrOrStderr())
	if err != nil {
		return false, err
	}
	defer r.Close()
	q, notes, err := r.Read(raw)
	if err != nil {
		return false, fmt.Errorf("reading the request %q: %w", path, err)
	}
	q.Client, q.TLS, q.Route = client, o.tls, o.route
	t, err := r.try(q)
	if err != nil {
		return false, err
	}
	t.Notes = notes
	if o.json {
		err = writeJSON(cmd.OutOrStdout(), t)
	} else {
		t.write(cmd.OutOrStdout())
	}
	return t.Refused, err
}

// readRequest reads a file, or the standard input.
func readRequest(path string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("opening the request: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, edge.MaxRehearsedBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	return raw, nil
}

// rehearsal is a configuration for requests to be tried by.
type rehearsal struct {
	*edge.Rehearsal
	config *config.Config
	told   *waf.Event // of the request that was tried last; nil: it was not inspected
}

// rehearse makes the configuration ready.
func (o *tryOptions) rehearse(stderr io.Writer) (*rehearsal, error) {
	cfg, err := loadFile(o.config, stderr)
	if err != nil {
		return nil, err
	}
	r := &rehearsal{config: cfg}
	level := new(slog.LevelVar)
	level.Set(slog.LevelError)
	r.Rehearsal, err = edge.NewRehearsal(cfg, wafplugin.Told(func(e *waf.Event) { r.told = e }), telemetry.NewLogger(stderr, level))
	return r, err
}

// tried is what came of a request.
type tried struct {
	Route     string     `json:"route"`
	Service   string     `json:"service,omitempty"`
	Inspected bool       `json:"inspected"`
	Refused   bool       `json:"refused"`
	Status    int        `json:"status,omitempty"` // of the answer, if it is refused
	Reason    string     `json:"reason,omitempty"` // why it is refused
	Notes     []string   `json:"notes,omitempty"`
	Event     *waf.Event `json:"event,omitempty"`
}

// errNoRoute says that no route takes a request.
var errNoRoute = errors.New("no route takes the request, so nothing inspects it; --route names one")

// try lets a request go its way.
func (r *rehearsal) try(q *edge.RehearsedRequest) (*tried, error) {
	r.told = nil
	out, err := r.Serve(q)
	if err != nil {
		return nil, fmt.Errorf("the route %q: %w", q.Route, err)
	}
	t := &tried{Inspected: r.told != nil, Event: r.told}
	switch {
	case out.Reason == l7.ReasonNoRoute:
		return nil, errNoRoute
	case out.Reason == l7.ReasonHTTPSRequired:
		return nil, fmt.Errorf("the route %q: %w", nameOf(out.Route), errTLSWanted)
	case out.Reason != l7.ReasonNone && out.Reason != l7.ReasonNoEndpoint: // the latter if the route has no service
		t.Refused, t.Status, t.Reason = true, out.Status, out.Reason.String()
	}
	if out.Route != nil {
		t.Route = nameOf(out.Route)
	}
	if out.Service != nil {
		t.Service = out.Service.Name
	}
	return t, nil
}

// nameOf returns the name of a route, or its id if it has none.
func nameOf(r *config.Route) string {
	if r.Name == "" {
		return r.ID.String()
	}
	return r.Name
}

// write writes it for people. Whatever the request tells is quoted.
func (t *tried) write(out io.Writer) {
	for _, n := range t.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	if t.Event != nil {
		writeEvent(out, t.Event)
	} else {
		fmt.Fprintf(out, "route %q: nothing was inspected\n", t.Route)
	}
	switch {
	case t.Refused && t.Reason == l7.ReasonWAF.String():
		fmt.Fprintf(out, "verdict: refused with %d\n", t.Status)
	case t.Refused:
		fmt.Fprintf(out, "verdict: refused with %d, not by the firewall: %s\n", t.Status, t.Reason)
	case t.Event == nil:
		fmt.Fprintln(out, "verdict: passes, since no firewall stands on this route")
	default:
		fmt.Fprintln(out, "verdict: passes")
	}
}

// exitError ends the process with a code of its own.
type exitError struct {
	code int
	error
}

// Unwrap returns the cause.
func (e exitError) Unwrap() error { return e.error }

// usageArgs makes of a wrong number of arguments what ends with exitUsage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return exitError{exitUsage, err}
		}
		return nil
	}
}

// writeJSON writes a value as JSON, indented.
func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
