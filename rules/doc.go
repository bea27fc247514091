// Package rules holds data that rules are made of, embedded with its version:
// names of bots. It knows nothing of how the data is used.
package rules
