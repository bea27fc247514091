// Command bulwark is the edge: it serves traffic, checks configurations, and
// measures itself. This package only wires the others together.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "dev"

// errSaid ends a command whose error has been printed already.
var errSaid = errors.New("said")

func main() {
	root := &cobra.Command{
		Use:           "bulwark",
		Short:         "An edge for the public internet: HTTP proxy, gateway and TLS endpoint in one binary",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("bulwark {{.Version}}\n")
	root.AddCommand(runCommand(), checkCommand(), certsCommand(), schemaCommand(), originCommand(), benchCommand(), acmeCommand(), wafCommand(), versionCommand())
	root.CompletionOptions.HiddenDefaultCmd = true
	if err := root.ExecuteContext(context.Background()); err != nil {
		if !errors.Is(err, errSaid) {
			fmt.Fprintln(os.Stderr, "bulwark: "+err.Error())
		}
		if exit, ok := errors.AsType[exitError](err); ok {
			os.Exit(exit.code)
		}
		os.Exit(1)
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "bulwark "+version) },
	}
}
