// Package plugins is the contract between the edge and its plugins: what a kind
// declares of itself and what it is given when an instance is built.
//
// A plugin is a folder beside this file and one line in plugins/catalog. What
// it does to an exchange is said by the hooks it implements, see package l7.
package plugins
