// Package file keeps state in files. Store is desired state that lives in one
// declarative file: it reads the file, and tells when it, or a file it refers
// to, has changed. Records is a directory of what is no desired state.
package file
