// Package upstream is where requests and streams are sent: targets behind a
// balancer, the addresses of their names, and pools of kept-alive connections.
// It speaks no protocol above TLS.
package upstream
