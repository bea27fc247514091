package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
	"github.com/bulwark-edge/bulwark/telemetry"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration and print every error in it",
		Long: `Check a configuration and print every error in it.

The file is read, and then all is compiled that would serve: TLS policies with
their authorities and revocation lists, plugins with their rules and data
files. Nothing is bound, asked for or written to, so what depends on that is
not found: an address in use, a log or a folder that cannot be written.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			level := new(slog.LevelVar)
			level.Set(slog.LevelWarn)
			log := telemetry.NewLogger(cmd.ErrOrStderr(), level)
			store, err := file.New(args[0], catalog.All(), log)
			if err != nil {
				return err
			}
			cfg, err := store.Load()
			if err == nil {
				err = edge.Check(cfg, edge.Options{Kinds: catalog.All(), Version: version, Log: log})
			}
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
				return errSaid
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %d services, %d routes, %d plugins\n",
				args[0], cfg.Services.Len(), cfg.Routes.Len(), cfg.Plugins.Len())
			return nil
		},
	}
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), string(config.JSONSchema(catalog.All())))
			return err
		},
	}
}
