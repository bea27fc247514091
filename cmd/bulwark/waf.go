package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/waf"
)

// maxEventLine bounds a line of the WAF's log, in bytes; longer ones are skipped.
const maxEventLine = 4 << 20

func wafCommand() *cobra.Command {
	c := &cobra.Command{Use: "waf", Short: "Look at what the web application firewall did, and would do"}
	c.AddCommand(wafExplainCommand(), wafTryCommand(), wafReplayCommand())
	return c
}

func wafExplainCommand() *cobra.Command {
	var configPath, logPath string
	cmd := &cobra.Command{
		Use:   "explain REQUEST-ID",
		Short: "Tell which rules matched in a request, where, and what came of it",
		Long: `Tell which rules matched in a request, where, and what came of it.

The id is the one that the answer tells (request_id, X-Kong-Request-Id) and that
stands in the access log. Events are looked for in the log of the firewall, which
must be in the format json.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if logPath == "" {
				cfg, err := loadFile(configPath, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				if logPath, err = eventFile(&cfg.Node.Log); err != nil {
					return err
				}
			}
			f, err := os.Open(logPath)
			if err != nil {
				return fmt.Errorf("opening the log of the firewall: %w", err)
			}
			defer f.Close()
			return explain(cmd.OutOrStdout(), f, args[0])
		},
	}
	cmd.Flags().StringVarP(&configPath, "config", "c", "/etc/bulwark/bulwark.yaml", "configuration file, whose node.log.waf is read")
	cmd.Flags().StringVar(&logPath, "log", "", "log of the firewall, in place of the configuration's")
	cmd.MarkFlagsMutuallyExclusive("config", "log")
	return cmd
}

// eventFile returns the file that events go to.
func eventFile(l *config.Log) (string, error) {
	switch {
	case l.WAFFormat != config.WAFJSON:
		return "", fmt.Errorf("node.log.waf_format is %q, and only events in the format json can be explained", l.WAFFormat)
	case l.WAF == config.LogOff:
		return "", errors.New("node.log.waf is off: there are no events")
	case l.WAF == config.LogStdout:
		return "", errors.New("node.log.waf is stdout: name the file that it goes to by --log")
	}
	return l.WAF, nil
}

// explain writes what the log tells of a request.
func explain(out io.Writer, log io.Reader, id string) error {
	lines := bufio.NewReader(log)
	found := false
	for {
		line, err := readLine(lines)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the log of the firewall: %w", err)
		}
		if !bytes.Contains(line, []byte(id)) {
			continue
		}
		var e waf.Event
		if json.Unmarshal(line, &e) != nil || e.RequestID != id || e.Mode == "" {
			continue // another line that the file holds, such as the access log's
		}
		found = true
		writeEvent(out, &e)
	}
	if !found {
		return fmt.Errorf("the log tells nothing of the request %q: no rule matched in it, or the log is another one by now", id)
	}
	return nil
}

// readLine returns the next line, or nothing of one that is longer than
// maxEventLine. The error is io.EOF behind the last.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for n := 0; ; n++ {
		part, err := r.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxEventLine; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case err == nil, err == io.EOF && n+len(part) > 0:
			return line, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

// writeEvent writes an event for people. Whatever comes from a client is quoted.
func writeEvent(out io.Writer, e *waf.Event) {
	fmt.Fprintf(out, "%s %q from %s", e.Method, e.Target, e.Client)
	if e.Route != "" {
		fmt.Fprintf(out, ", route %q", e.Route)
	}
	fmt.Fprintf(out, "\nmode %s, ", e.Mode)
	if e.Level > 0 {
		fmt.Fprintf(out, "paranoia level %d, ", e.Level)
	}
	if e.Detection > e.Level {
		fmt.Fprintf(out, "asked up to %d, ", e.Detection)
	}
	fmt.Fprintf(out, "action %s", e.Action)
	if e.Status != 0 {
		fmt.Fprintf(out, " with %d", e.Status)
	}
	if e.Would != "" {
		fmt.Fprintf(out, " (mode block: %s)", e.Would)
	}
	if e.Rule != 0 {
		fmt.Fprintf(out, ", by rule %d", e.Rule)
	}
	fmt.Fprintln(out)
	for _, side := range []struct {
		name string
		waf.Score
	}{{"inbound", e.Scores.Inbound}, {"outbound", e.Scores.Outbound}} {
		if side.Detection > 0 || side.Blocking > 0 || side.name == "inbound" && side.Threshold > 0 {
			fmt.Fprintf(out, "%s score %d of %d; by paranoia level: %v\n", side.name, side.Blocking, side.Threshold, side.Levels)
		}
	}
	writeCategories(out, &e.Scores)
	for k := range e.Matches {
		m := &e.Matches[k]
		fmt.Fprintf(out, "rule %d, phase %d", m.Rule, m.Phase)
		if m.Level > 0 {
			fmt.Fprintf(out, ", paranoia level %d", m.Level)
		}
		fmt.Fprintf(out, ": %q\n", m.Message)
		for _, t := range m.Targets {
			fmt.Fprintf(out, "    %q = %q\n", t.Variable, t.Value)
		}
	}
	if e.More > 0 {
		fmt.Fprintf(out, "and %d more rules\n", e.More)
	}
	for _, what := range e.Uninspected {
		fmt.Fprintf(out, "not inspected: %s\n", what)
	}
	if e.Error != "" {
		fmt.Fprintf(out, "error: %q\n", e.Error)
	}
}

// writeCategories writes the scores by what was found.
func writeCategories(out io.Writer, s *waf.Scores) {
	sep := "by category: "
	for _, c := range []struct {
		name  string
		score int
	}{
		{"SQL injection", s.SQLInjection},
		{"XSS", s.XSS},
		{"remote file inclusion", s.RFI},
		{"local file inclusion", s.LFI},
		{"remote code execution", s.RCE},
		{"PHP injection", s.PHPInjection},
		{"HTTP violation", s.HTTPViolation},
		{"session fixation", s.SessionFixation},
	} {
		if c.score > 0 {
			fmt.Fprintf(out, "%s%s %d", sep, c.name, c.score)
			sep = ", "
		}
	}
	if sep == ", " {
		fmt.Fprintln(out)
	}
}
