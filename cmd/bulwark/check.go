package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
	"github.com/bulwark-edge/bulwark/telemetry"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration and print every error in it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := file.New(args[0], catalog.All(), telemetry.NewLogger(cmd.ErrOrStderr(), new(slog.LevelVar)))
			if err != nil {
				return err
			}
			cfg, err := store.Load()
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
