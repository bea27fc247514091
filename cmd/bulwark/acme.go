package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/issuer"
)

// acmeCommand sees to what a configuration has ordered. It reads the storage
// itself, so that no edge needs to run.
func acmeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acme",
		Short: "List and revoke certificates that were ordered by ACME",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	path := cmd.PersistentFlags().StringP("config", "c", "/etc/bulwark/bulwark.yaml", "configuration file")
	cmd.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the certificates in node.acme.storage",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOrders(cmd, *path, func(o *orders) error { return o.list(cmd.Context(), cmd.OutOrStdout()) })
		},
	})
	reason := "unspecified"
	revoke := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Have a certificate revoked by its authority, and forget it",
		Long: `Have the certificate of a name revoked by the authority that issued it, and
forget it and its key. An edge whose configuration still has the name orders
another one within ten minutes; take it out before if it is not to.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withOrders(cmd, *path, func(o *orders) error {
				return o.revoke(cmd.Context(), cmd.OutOrStdout(), args[0], reason)
			})
		},
	}
	revoke.Flags().StringVar(&reason, "reason", reason, "why: "+strings.Join(revocationReasons(), ", "))
	cmd.AddCommand(revoke)
	return cmd
}

// revocationReason is a reason that a subscriber may give (RFC 5280 section
// 5.3.1).
type revocationReason struct {
	name string
	code int
}

func allReasons() []revocationReason {
	return []revocationReason{
		{"unspecified", issuer.ReasonUnspecified},
		{"key-compromise", issuer.ReasonKeyCompromise},
		{"affiliation-changed", issuer.ReasonAffiliationChanged},
		{"superseded", issuer.ReasonSuperseded},
		{"cessation-of-operation", issuer.ReasonCessationOfOperation},
	}
}

func revocationReasons() (names []string) {
	for _, r := range allReasons() {
		names = append(names, r.name)
	}
	return names
}

// orders is what a configuration has ordered.
type orders struct {
	records *file.Records
	terms   []issuer.Terms
	log     *slog.Logger
}

var errNoOrders = errors.New("nothing is ordered: node.acme has neither domains nor on_demand, and there is no plugin acme")

// withOrders reads a configuration and opens its storage.
func withOrders(cmd *cobra.Command, path string, do func(*orders) error) error {
	log := telemetry.NewLogger(cmd.ErrOrStderr(), new(slog.LevelVar))
	source, err := file.New(path, catalog.All(), log)
	if err != nil {
		return err
	}
	cfg, err := source.Load()
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), err)
		return errSaid
	}
	o := &orders{log: log}
	if o.terms, err = edge.Terms(cfg, catalog.All()); err != nil {
		return err
	}
	if len(o.terms) == 0 {
		return errNoOrders
	}
	storage := cfg.Node.ACME.Storage
	if _, err := os.Stat(storage); err != nil { // a command that looks makes none
		return fmt.Errorf("opening node.acme.storage: %w", err)
	}
	if o.records, err = file.OpenRecords(storage); err != nil {
		return fmt.Errorf("opening node.acme.storage: %w", err)
	}
	return do(o)
}

func (o *orders) list(ctx context.Context, w io.Writer) error {
	all, err := issuer.Stored(ctx, o.records, o.log)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tUNTIL\tAUTHORITY")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Name, s.Until.UTC().Format(time.RFC3339), s.CA)
	}
	return t.Flush()
}

func (o *orders) revoke(ctx context.Context, w io.Writer, name, reason string) error {
	all := allReasons()
	i := slices.IndexFunc(all, func(r revocationReason) bool { return r.name == reason })
	if i < 0 {
		return fmt.Errorf("there is no reason %q: choose one of %s", reason, strings.Join(revocationReasons(), ", "))
	}
	name = config.ACMEName(name)
	if err := issuer.Revoke(ctx, o.records, o.terms, name, all[i].code, issuer.Options{Product: "bulwark/" + version, Log: o.log}); err != nil {
		return err
	}
	fmt.Fprintf(w, "the certificate of %s is revoked and forgotten\n", name)
	return nil
}
