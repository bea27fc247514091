package telemetry

import (
	"io"
	"log/slog"
	"strings"
	"time"
)

// NewLogger returns the operator's log: one JSON object a line on w, with
// level names in lower case as in the configuration, and durations as text
// with a unit. The level may change while it is in use.
func NewLogger(w io.Writer, level *slog.LevelVar) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: plain}))
}

// plain gives levels and durations the form an operator writes them in.
func plain(groups []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case slog.Level:
		if len(groups) == 0 && a.Key == slog.LevelKey {
			return slog.String(slog.LevelKey, strings.ToLower(v.String()))
		}
	case time.Duration:
		return slog.String(a.Key, v.String())
	}
	return a
}
