// Package botdetection is the plugin bot-detection: it refuses requests whose
// User-Agent says that they come from a bot.
//
// # How it works
//
// The expressions of allow are asked first: what one of them matches passes. Then
// those of deny: what one of them matches is refused. All else is looked up in a
// built-in list: names of crawlers, scanners, site copiers and the like, and
// words that end in bot, spider or crawler, without regard to case. The list is
// dated, and its date is logged at the start. General HTTP clients such as curl
// are not in it; deny can name them.
//
// A refusal is 403. A request with several User-Agent fields is answered with
// 400; one without any passes.
//
// The list is one automaton, which takes two nanoseconds or so for each byte. What
// was found out about a User-Agent is kept for the next request that sends it.
//
// # Limits
//
// A User-Agent is what a client says of itself: only honest bots are found. The
// expressions are in RE2 syntax, and match anywhere unless they are anchored.
package botdetection
