// Package consul finds services in Consul's catalogue for package upstream. It
// answers for names of the form
//
//	[tag.]name.service[.datacenter].consul
//	_name._tag.service[.datacenter].consul
//
// with the instances whose checks pass, their ports and weights. A name that is
// asked for is watched by blocking queries, so that a change is known as soon as
// the agent says so, until nobody has asked for it for unusedTime. While the
// agent is in trouble its last answer counts.
//
// Every other name is the next resolver's. The package registers nothing, and
// knows no prepared queries and no node names.
package consul
