package rules

import (
	_ "embed"
	"strings"
)

// Bots is what is known of the User-Agents of bots. All texts are in lower case
// and are to be compared with User-Agents in lower case.
type Bots struct {
	Version    string   // the day of the compilation
	Names      []string // each is a bot's where it stands between characters that are no letters
	Endings    []string // words that end so are bots
	Exceptions []string // words that end so and are none
}

//go:embed bots.txt
var botsText string

// LoadBots returns the built-in list.
func LoadBots() *Bots {
	b := new(Bots)
	section := ""
	for line := range strings.Lines(botsText) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '[':
			section = line
			continue
		}
		switch section {
		case "[version]":
			b.Version = line
		case "[names]":
			b.Names = append(b.Names, line)
		case "[endings]":
			b.Endings = append(b.Endings, line)
		case "[exceptions]":
			b.Exceptions = append(b.Exceptions, line)
		default:
			panic("BUG: bots.txt has the section " + section)
		}
	}
	return b
}
