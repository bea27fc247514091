// Package config holds the desired state of an edge as typed entities, and
// Load, which reads them from one declarative file in Kong's format.
//
// Everything under the key "node" belongs to this process (see Node); every
// other key is Kong's: services, routes, upstreams, targets, consumers,
// plugins, certificates, snis and ca_certificates, nested or at the top level.
// What Kong has and this version does not serve is known by name and refused,
// never ignored. Load reports every error of a file at once, each with its
// line, its path, what was found and what was expected.
//
// A Config and all it points to are immutable once Load has returned.
//
// The package does not watch files, keep revisions or open sockets: package
// store and package edge do.
package config
