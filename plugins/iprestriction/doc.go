// Package iprestriction is the plugin ip-restriction: it lets only some client
// addresses through, or refuses some.
//
// # How it works
//
// Addresses and CIDR ranges of both families are held in two prefix tables,
// built once; a look-up costs some tens of nanoseconds however long the lists
// are. deny is asked first. With allow, whoever is not listed is refused.
//
// The address is the peer of the connection.
package iprestriction
