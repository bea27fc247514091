// Package waf holds the WAF's rule engine, Coraza, behind a narrow interface.
// Rules are a text with all files that it includes; an Engine is what they
// compile to, shared by all that use the same text; a Profile is what one
// plugin instance wants of it; an Inspection is one exchange's.
//
// It knows no HTTP server: heads and bodies are handed to it, and what to do
// comes back as a Verdict. What a server must do with that, such as holding a
// body back, is not its business. Whatever goes wrong here ends the one
// inspection, and its verdict is to deny unless the profile says otherwise.
package waf
