// Package correlationid is the plugin correlation-id: it gives every request an
// id of its own, tells it to the upstream and, if wanted, to the client.
//
// # How it works
//
// A request that carries the header field already keeps its value. Otherwise
// one is made: uuid is random, uuid#counter is an id of the process and a
// counter, tracker is address, port, process, connection and time, as Kong
// makes it. The id joins the log entry as correlation_id.
package correlationid
