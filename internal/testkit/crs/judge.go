package crs

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Lines holds the lines of ModSecurity's error log by the client that they name.
type Lines map[netip.Addr][]string

var (
	clientPart = regexp.MustCompile(`\[client "?([0-9a-fA-F.:]+)"?\]`)
	idPart     = regexp.MustCompile(`\[id "([0-9]+)"\]`)
)

// ReadLines sorts a log's lines. Those without a client are no rule's.
func ReadLines(log string) Lines {
	lines := make(Lines)
	for line := range strings.Lines(log) {
		m := clientPart.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if client, err := netip.ParseAddr(m[1]); err == nil {
			lines[client] = append(lines[client], strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// IDs returns the rules that lines are of, in their order, each once.
func IDs(lines []string) (ids []int) {
	for _, line := range lines {
		for _, m := range idPart.FindAllStringSubmatch(line, -1) {
			if id, err := strconv.Atoi(m[1]); err == nil && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// Judge returns in what a stage differs from what was to come of it; nil: it
// passes. lines are those of its client.
func (s *Sent) Judge(lines []string) error {
	want := &s.Stage.Output
	if want.NoResponse != nil && *want.NoResponse {
		if s.Err == nil {
			return fmt.Errorf("the server answered %d, and was to answer nothing in HTTP", s.Status)
		}
		return nil // The suite asks for nothing else then.
	}
	if s.Err != nil {
		return s.Err
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if want.Status != 0 && s.Status != want.Status {
		fault("the status is %d, not %d", s.Status, want.Status)
	}
	if want.ResponseContains != nil && !want.ResponseContains.Match(s.Response) {
		fault("the response has nothing like %q", want.ResponseContains)
	}
	ids := IDs(lines)
	for _, id := range want.IDs {
		if !slices.Contains(ids, id) {
			fault("rule %d is not in the log", id)
		}
	}
	for _, id := range want.NoIDs {
		if slices.Contains(ids, id) {
			fault("rule %d is in the log", id)
		}
	}
	if want.Isolated && len(ids) != 1 {
		fault("the log has the rules %v, not one alone", ids)
	}
	if want.Match != nil && !slices.ContainsFunc(lines, want.Match.MatchString) {
		fault("no line of the log matches %q", want.Match)
	}
	if want.NoMatch != nil && slices.ContainsFunc(lines, want.NoMatch.MatchString) {
		fault("a line of the log matches %q", want.NoMatch)
	}
	return errors.Join(faults...)
}
