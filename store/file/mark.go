package file

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// fingerprint is a text that is another one once any of the files is.
func fingerprint(names []string) string {
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fi, err := os.Stat(name)
		if err != nil {
			fmt.Fprintf(&b, "%s missing\n", name)
			continue
		}
		var inode uint64
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			inode = st.Ino
		}
		fmt.Fprintf(&b, "%s %d %d %d\n", name, inode, fi.Size(), fi.ModTime().UnixNano())
	}
	return b.String()
}
