package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/bench"
	"github.com/bulwark-edge/bulwark/bench/handshake"
	"github.com/bulwark-edge/bulwark/bench/load"
	"github.com/bulwark-edge/bulwark/bench/origin"
	"github.com/bulwark-edge/bulwark/bench/routes"
	"github.com/bulwark-edge/bulwark/bench/tcp"
	"github.com/bulwark-edge/bulwark/bench/udp"
)

// interruptible returns a context that a signal ends.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}

func originCommand() *cobra.Command {
	var o origin.Options
	cmd := &cobra.Command{
		Use:   "origin",
		Short: "Serve fixed answers, as an origin for demos and measurements",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			return origin.Run(ctx, o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.Address, "address", origin.DefaultAddress, "address to listen on")
	return cmd
}

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure"}
	cmd.AddCommand(benchHTTPCommand(), benchTCPCommand(), benchTLSCommand(), benchTCPOriginCommand(), benchUDPCommand(), benchUDPOriginCommand(), benchCompareCommand(), benchRoutesCommand(), benchScaleCommand())
	return cmd
}

func benchHTTPCommand() *cobra.Command {
	var o load.Options
	var body string
	cmd := &cobra.Command{
		Use:   "http URL",
		Short: "Load an HTTP server and report rates and latencies",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			o.URL, o.Body, o.Progress = args[0], []byte(body), cmd.ErrOrStderr()
			return load.Run(ctx, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Method, "method", "X", "GET", "request method")
	f.StringArrayVarP(&o.Headers, "header", "H", nil, "extra header field, \"Name: value\"; may be repeated")
	f.StringVarP(&body, "body", "d", "", "request body")
	f.IntVarP(&o.Connections, "connections", "c", load.DefaultConnections, "connections used at once")
	f.Float64VarP(&o.Rate, "rate", "r", 0, "requests per second of an open loop; 0 is a closed loop")
	f.DurationVarP(&o.Duration, "duration", "t", load.DefaultDuration, "how long requests are sent")
	f.Int64VarP(&o.Requests, "requests", "n", 0, "requests sent in all; 0 is no bound")
	f.DurationVar(&o.Timeout, "timeout", load.DefaultTimeout, "bound of one request")
	f.BoolVar(&o.Reconnect, "reconnect", false, "open a connection for each request")
	f.BoolVarP(&o.Insecure, "insecure", "k", false, "accept any certificate")
	f.BoolVar(&o.JSON, "json", false, "print the result as JSON")
	return cmd
}

func benchCompareCommand() *cobra.Command {
	var o bench.Options
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Measure Bulwark, nginx and HAProxy side by side",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			o.Progress = cmd.ErrOrStderr()
			return bench.Compare(ctx, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Bulwark, "bulwark", "", "path of the binary under test")
	f.StringSliceVar(&o.Contestants, "contestants", nil, "of bulwark, nginx, haproxy; all unless told")
	f.StringSliceVar(&o.Scenarios, "scenarios", nil, "scenarios to run; all unless told")
	f.StringVar(&o.Origin, "origin", "", "the server behind: nginx, or bulwark")
	f.IntVar(&o.Rounds, "rounds", 0, "turns of each contestant in each scenario")
	f.DurationVar(&o.Duration, "duration", 0, "how long one turn is measured")
	f.DurationVar(&o.WarmUp, "warm-up", 0, "load before a turn is measured")
	f.BoolVar(&o.NoWarmUp, "no-warm-up", false, "measure from the first request on")
	f.IntVar(&o.IdleConnections, "idle-connections", 0, "idle connections")
	f.DurationVar(&o.IdleWait, "idle-wait", 0, "how long they rest before memory is read")
	f.BoolVar(&o.Quick, "quick", false, "a first impression, in short rounds")
	f.IntVar(&o.ProxyCPU, "proxy-cpu", 0, "processor of the contestants")
	f.IntVar(&o.LoadCPU, "load-cpu", 0, "processor of the load and the origin; 0 with --proxy-cpu 0 means 1")
	f.StringVar(&o.JSONFile, "json", "", "file for the report as JSON")
	f.StringVar(&o.MarkdownFile, "markdown", "", "file for the report as Markdown")
	return cmd
}

func benchRoutesCommand() *cobra.Command {
	var o routes.Options
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "Write a declarative file with many routes, to measure with",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return routes.Write(cmd.OutOrStdout(), o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Count, "count", routes.DefaultCount, "number of routes, five to a service")
	f.StringVar(&o.Origin, "origin", routes.DefaultOrigin, "address and port of the first service")
	f.BoolVar(&o.Shared, "shared", false, "let every service be at the origin")
	return cmd
}

func benchScaleCommand() *cobra.Command {
	var o bench.ScaleOptions
	cmd := &cobra.Command{
		Use:   "routes-15k",
		Short: "Measure what 15,000 routes cost: to check, to load, to change, to look up",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			o.Progress = cmd.ErrOrStderr()
			return bench.Scale(ctx, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Bulwark, "bulwark", "", "path of the binary under test")
	f.IntVar(&o.Routes, "routes", routes.DefaultCount, "number of routes")
	f.IntVar(&o.Rounds, "rounds", 0, "how often each thing is measured")
	f.DurationVar(&o.Duration, "duration", 0, "how long one turn of load is measured")
	f.DurationVar(&o.IdleWait, "idle-wait", 0, "how long a process rests before memory is read")
	f.IntVar(&o.ProxyCPU, "proxy-cpu", 0, "processor of the binary under test")
	f.IntVar(&o.LoadCPU, "load-cpu", 0, "processor of the load and the origin; 0 with --proxy-cpu 0 means 1")
	return cmd
}

func benchTCPCommand() *cobra.Command {
	var o tcp.Options
	cmd := &cobra.Command{
		Use:   "tcp ADDRESS",
		Short: "Load a TCP relay with bench tcp-origin behind it and report rates and latencies",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			o.Address = args[0]
			return tcp.Run(ctx, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Mode, "mode", "m", tcp.RoundTrips, "rtt: round trips; bulk: read all that comes; connect: a connection for each round trip")
	f.IntVarP(&o.Connections, "connections", "c", tcp.DefaultConnections, "connections at once")
	f.IntVarP(&o.Size, "size", "s", tcp.DefaultSize, "bytes of a message")
	f.DurationVarP(&o.Duration, "duration", "t", tcp.DefaultDuration, "how long")
	f.DurationVar(&o.Timeout, "timeout", tcp.DefaultTimeout, "bound of a connect, and of a wait for bytes")
	f.BoolVar(&o.JSON, "json", false, "print the result as JSON")
	return cmd
}

func benchTLSCommand() *cobra.Command {
	var o handshake.Options
	cmd := &cobra.Command{
		Use:   "tls URL",
		Short: "Load a server with TLS handshakes, each with one request, and report rates and latencies",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			o.URL = args[0]
			return handshake.Run(ctx, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.Connections, "connections", "c", handshake.DefaultConnections, "connections at once")
	f.DurationVarP(&o.Duration, "duration", "t", handshake.DefaultDuration, "how long")
	f.DurationVar(&o.Timeout, "timeout", handshake.DefaultTimeout, "bound of a connection, from its connect to its answer")
	f.BoolVar(&o.Resume, "resume", false, "resume the session of the connection before")
	f.StringVar(&o.Curve, "curve", handshake.DefaultCurve, "the one key exchange that is offered: "+handshake.Curves())
	f.BoolVar(&o.TLS12, "tls12", false, "speak TLS 1.2 in place of 1.3")
	f.StringVar(&o.CAFile, "ca", "", "file of the roots that the server is verified by; none: it is not verified")
	f.StringVar(&o.CertFile, "cert", "", "file of the certificate that is shown, with its chain")
	f.StringVar(&o.KeyFile, "key", "", "file of its key")
	f.BoolVar(&o.JSON, "json", false, "print the result as JSON")
	return cmd
}

func benchTCPOriginCommand() *cobra.Command {
	var o tcp.OriginOptions
	cmd := &cobra.Command{
		Use:   "tcp-origin",
		Short: "Stand behind a TCP relay that is measured",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			return tcp.Serve(ctx, o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.Echo, "echo", "", "address that sends back what it gets, for rtt and connect")
	cmd.Flags().StringVar(&o.Source, "source", "", "address that sends for as long as it can, for bulk")
	return cmd
}

func benchUDPCommand() *cobra.Command {
	var o udp.Options
	cmd := &cobra.Command{
		Use:   "udp ADDRESS",
		Short: "Send datagrams to what echoes them, and report what comes back, when, and what does not",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			o.Target, o.Progress = args[0], cmd.ErrOrStderr()
			return udp.Run(ctx, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.Flows, "flows", "c", udp.DefaultFlows, "sockets that send")
	f.IntVarP(&o.Size, "size", "s", udp.DefaultSize, "bytes of a datagram")
	f.Float64VarP(&o.Rate, "rate", "r", 0, "datagrams per second of an open loop; 0 is a closed loop")
	f.Float64Var(&o.Loss, "loss", 0, "search the highest rate at which no more than this share is lost, such as 0.001")
	f.DurationVarP(&o.Duration, "duration", "t", udp.DefaultDuration, "how long datagrams are sent; in a search, at each rate")
	f.DurationVar(&o.Timeout, "timeout", udp.DefaultTimeout, "when a datagram counts as lost")
	f.BoolVar(&o.JSON, "json", false, "print the result as JSON")
	return cmd
}

func benchUDPOriginCommand() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "udp-origin",
		Short: "Send every datagram back to where it came from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			return udp.Serve(ctx, address, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&address, "address", udp.DefaultAddress, "address to listen on")
	return cmd
}
