// Package filelog is the plugin file-log: it writes a line of JSON for every
// exchange into a file.
//
// # How it works
//
// A line is the log entry in the shape of Kong's log serializer, the same as in
// the access log. Lines gather in memory for up to 100 ms and are written by a
// goroutine of the file's own, so that no exchange ever waits for the disk: when
// the file cannot keep up, lines are lost, and counted at /metrics
// (bulwark_file_log_dropped_lines_total). Instances with the same path share the
// file. A new file gets the mode 0644.
//
// # Rotation
//
// SIGUSR1 opens the file anew, as it does the access log. With reopen that is not
// needed: before each write the path is looked at, and opened anew if the file was
// moved or removed. Kong opens the file for every request then; the outcome is the
// same.
//
// # Limits
//
// A file that cannot be opened is an error of the configuration. A line of 256
// KiB or more is dropped. custom_fields_by_lua is refused, since there is no Lua.
package filelog
