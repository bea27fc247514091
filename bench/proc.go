package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// clockTick is the unit of utime and stime in /proc/PID/stat. The kernel shows
// them to programs in hundredths of a second on every architecture that Go
// supports.
const clockTick = 10 * time.Millisecond

// usage is what a process and its descendants have used so far.
type usage struct {
	pids     []int // Sorted.
	cpu      time.Duration
	resident int64 // Bytes; pages shared by two processes count twice.
}

// usageOf sums up the process tree under root.
func usageOf(root int) (usage, error) {
	stats, err := readStats()
	if err != nil {
		return usage{}, err
	}
	if _, ok := stats[root]; !ok {
		return usage{}, fmt.Errorf("process %d has gone", root)
	}
	var u usage
	for pid, s := range stats {
		if !descends(stats, pid, root) {
			continue
		}
		u.pids = append(u.pids, pid)
		u.cpu += s.cpu
		rss, err := resident(pid)
		if err != nil {
			return usage{}, err
		}
		u.resident += rss
	}
	slices.Sort(u.pids)
	return u, nil
}

// stat is what is needed of /proc/PID/stat.
type stat struct {
	parent int
	cpu    time.Duration
}

func readStats() (map[int]stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	stats := make(map[int]stat, len(files))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // It ended meanwhile.
		}
		if err != nil {
			return nil, fmt.Errorf("reading processes: %w", err)
		}
		pid, s, err := parseStat(b)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", f, err)
		}
		stats[pid] = s
	}
	return stats, nil
}

// parseStat reads a line of proc_pid_stat(5). The command in parentheses may
// hold anything, so the fields are counted from its last parenthesis.
func parseStat(b []byte) (pid int, s stat, err error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return 0, stat{}, fmt.Errorf("malformed line %.80q", b)
	}
	fields := bytes.Fields(b[end+1:])
	if len(fields) < 13 {
		return 0, stat{}, fmt.Errorf("malformed line %.80q", b)
	}
	pid, err1 := strconv.Atoi(string(bytes.TrimSpace(b[:open])))
	parent, err2 := strconv.Atoi(string(fields[1]))
	user, err3 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err4 := strconv.ParseInt(string(fields[12]), 10, 64)
	return pid, stat{parent: parent, cpu: time.Duration(user+system) * clockTick}, errors.Join(err1, err2, err3, err4)
}

// descends reports whether pid is root or below it.
func descends(stats map[int]stat, pid, root int) bool {
	for range len(stats) + 1 {
		if pid == root {
			return true
		}
		s, ok := stats[pid]
		if !ok {
			return false
		}
		pid = s.parent
	}
	return false
}

// resident is VmRSS in bytes; 0 for a process that has just ended.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the resident memory: %w", err)
	}
	return parseResident(b)
}

func parseResident(b []byte) (int64, error) {
	for line := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(line, []byte("VmRSS:"))
		if !ok {
			continue
		}
		f := bytes.Fields(rest)
		if len(f) != 2 || string(f[1]) != "kB" {
			return 0, fmt.Errorf("malformed line %q", line)
		}
		kb, err := strconv.ParseInt(string(f[0]), 10, 64)
		return kb << 10, err
	}
	return 0, nil // A zombie has no such line.
}
