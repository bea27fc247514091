// Package testkit runs the whole edge in tests: in process, on ports that the
// system chooses, between a scripted client and a scripted upstream.
//
// # Golden scripts
//
// RunScripts runs every txtar file that matches a pattern. A script is one
// readable story; its sections are:
//
//	config.yaml   the declarative file; $UPSTREAM is the upstream's host:port,
//	              $DIR a directory that is not there yet.
//	              The listeners http and https, on free ports, are added,
//	              unless it has listeners of its own.
//	client        what the client sends
//	reply         what it gets: all of it, up to here
//	connect       (empty) the client goes on, on a new connection
//	answer        what the upstream answers to a request; the first one to the
//	              first request and so on, the last one to all further ones
//	upstream      what has arrived at the upstream; empty: nothing may have
//	log           a line for each exchange or stream: status, reason, statuses of
//	              the upstream, source
//
// The comment in front of the first section says what the script shows. A line
// "options: a, b" in it sets options: no-split (only whole), tls and sni=NAME
// (the client speaks TLS), upstream-tls, refuse (nothing listens at $UPSTREAM),
// two (the upstream has a second address, $SECOND), listener=NAME (of a stream:
// the client connects to this listener).
//
// Each line of client, reply, answer and upstream is a line on the wire, ended
// by CRLF. A backslash at its end means that no line end follows, and \r \n \t
// \0 \\ and \xHH stand for bytes. <100*x> stands for a hundred times x. What
// differs from run to run is written as <id>, <uuid>, <ms>, <date>, <port>,
// <client-port>, <upstream-port>, <n> or <tracker>.
//
// Lines that are actions, not bytes:
//
//	client   <half-close>  <close>  <reset>  <wait 50ms>
//	answer   the same; <early> as the first line: answer when the head is
//	         here; <hold>: nothing more until the peer closes; <echo>: send back
//	         what comes
//	reply    <close> or <reset> at its end: so the edge ended the connection.
//	         Without it the edge left it open, and the client half-closed.
//	upstream <next connection>: what follows came on another connection.
//	         <cut>: the request's content is incomplete.
//
// The upstream of a stream sends its answer once something has come, and what it
// gets is shown as it is; without an answer it sends everything back.
//
// In reply and upstream chunked content is shown as one chunk, since the borders
// of chunks are not kept.
//
// Every script runs whole, byte by byte, with the bytes of each client section
// split in two at every border, and with those of each answer split in two at
// every border; with -short only a part of these runs is done. All runs must
// agree. With -update the expectations are written anew by the whole run.
package testkit
