// Package rules holds data that rules are made of, embedded with its version:
// names of bots, and the rules of the WAF: a base configuration, the Core Rule
// Set and exclusion packs. It knows nothing of how the data is used.
package rules
