package file

import (
	"fmt"
	"os"
	"syscall"
)

// mark is a text that is another one once the file is: which file the name
// leads to, its size and its time.
func mark(name string) string {
	fi, err := os.Stat(name)
	if err != nil {
		return "missing"
	}
	var inode uint64
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprintf("%d %d %d", inode, fi.Size(), fi.ModTime().UnixNano())
}
