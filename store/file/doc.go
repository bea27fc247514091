// Package file is desired state that lives in one declarative file: it reads
// the file, and tells when it, or a file it refers to, has changed.
package file
