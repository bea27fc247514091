// Package edit is what the transformers share: the name:value pairs of their
// configuration, and a JSON object that is edited member by member.
package edit
