// Package lint holds the project's own rules as tests: which package may import
// which, which module is used where, how a plugin's folder looks, how errors,
// metrics and names are worded, and that the documents agree with the code.
//
// The rules' data (floors, confined modules, exceptions) stand in tables, each
// exception with its reason. The rules read sources with go/parser and need
// nothing but the standard library. Each rule has a test that shows it finding
// what it is there to find.
package lint
