package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/certs"
)

// What an answer of the status listener may take and hold.
const (
	statusTimeout = 10 * time.Second
	statusBytes   = 64 << 20
)

func certsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "certs",
		Short: "Look at certificates, and trust the local authority",
	}
	c.AddCommand(certsListCommand(), certsShowCommand(), certsTrustCommand())
	return c
}

// certsFrom is where certificates are looked at.
type certsFrom struct{ status, config string }

func (f *certsFrom) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.status, "status", "127.0.0.1:8007", "address of the status listener of the edge that runs")
	cmd.Flags().StringVar(&f.config, "config", "", "look into this configuration, in place of asking an edge")
	cmd.MarkFlagsMutuallyExclusive("status", "config")
}

// get returns all certificates, or those that are called name.
func (f *certsFrom) get(ctx context.Context, name string, stderr io.Writer) (b telemetry.CertificatesBody, err error) {
	if f.config == "" {
		return f.ask(ctx, name)
	}
	cfg, err := loadFile(f.config, stderr)
	if err != nil {
		return b, err
	}
	all := edge.Certificates(cfg)
	if name == "" {
		return telemetry.DescribeCertificates(all, time.Now()), nil
	}
	return telemetry.DescribeCertificate(all, name, time.Now()), nil
}

// ask asks the edge that runs.
func (f *certsFrom) ask(ctx context.Context, name string) (b telemetry.CertificatesBody, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(f.status)
	if err != nil {
		return b, fmt.Errorf("the status listener's address is %q; expected host:port: %w", f.status, err)
	}
	at := url.URL{Scheme: "http", Host: net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port), Path: "/status/certificates"}
	if name != "" {
		at.Path += "/" + name
		at.RawPath = "/status/certificates/" + url.PathEscape(name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return b, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return b, fmt.Errorf("asking the edge (is it running, and its node.status there? --config looks into a file instead): %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound && name != "":
		return b, nil
	case resp.StatusCode != http.StatusOK:
		return b, fmt.Errorf("asking the edge: %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, statusBytes)).Decode(&b); err != nil {
		return b, fmt.Errorf("reading what the edge says: %w", err)
	}
	return b, nil
}

// loadFile loads a configuration; its errors have been printed.
func loadFile(path string, stderr io.Writer) (*config.Config, error) {
	store, err := file.New(path, catalog.All(), telemetry.NewLogger(stderr, new(slog.LevelVar)))
	if err != nil {
		return nil, err
	}
	cfg, err := store.Load()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return nil, errSaid
	}
	return cfg, nil
}

func certsListCommand() *cobra.Command {
	var from certsFrom
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the certificates that clients may be shown; those that end first come first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := from.get(cmd.Context(), "", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return printCertificates(cmd.OutOrStdout(), &b)
		},
	}
	from.flags(cmd)
	return cmd
}

func printCertificates(w io.Writer, b *telemetry.CertificatesBody) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAMES\tSTATE\tENDS\tKEY\tISSUER\tSOURCE")
	for i := range b.Data {
		c := &b.Data[i]
		ends := "-"
		if c.NotAfter != nil {
			ends = c.NotAfter.Format("2006-01-02 15:04")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n",
			cmp.Or(shortNames(c.Names), "-"), c.State, ends, cmp.Or(c.Key, "-"), cmp.Or(c.Issuer, "-"), c.Source)
		if c.Problem != "" {
			fmt.Fprintf(t, "  %s\t\t\t\t\t\n", c.Problem)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if b.Omitted > 0 {
		fmt.Fprintf(w, "and %d more, which end later\n", b.Omitted)
	}
	return nil
}

// shownNames is how many names of a certificate stand in a list.
const shownNames = 3

func shortNames(names []string) string {
	if len(names) > shownNames {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shownNames], ","), len(names)-shownNames)
	}
	return strings.Join(names, ",")
}

func certsShowCommand() *cobra.Command {
	var from certsFrom
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a certificate with its chain, by a server name, its id or its SHA-256",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := from.get(cmd.Context(), args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if len(b.Data) == 0 {
				return fmt.Errorf("there is no certificate for %q; expected a server name, an id or a SHA-256 that \"bulwark certs list\" knows", args[0])
			}
			for i := range b.Data {
				showCertificate(cmd.OutOrStdout(), &b.Data[i])
			}
			return nil
		},
	}
	from.flags(cmd)
	return cmd
}

func showCertificate(w io.Writer, c *telemetry.CertificateBody) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-12s%s\n", name, value)
		}
	}
	line("names", strings.Join(c.Names, ", "))
	line("state", string(c.State))
	line("problem", c.Problem)
	line("subject", c.Subject)
	line("issuer", c.Issuer)
	line("key", c.Key)
	line("serial", c.Serial)
	line("sha256", c.SHA256)
	if c.NotAfter != nil {
		line("valid", c.NotBefore.Format(time.RFC3339)+" to "+c.NotAfter.Format(time.RFC3339))
	}
	line("source", strings.TrimSpace(c.Source+" "+c.ID))
	fmt.Fprint(w, c.PEM)
}

// trustStore is a way that systems keep the roots they trust: a folder, and the
// command that reads it.
type trustStore struct {
	folder  string
	command []string
}

// trustStores are those of the usual distributions. The first whose folder is
// there is taken.
var trustStores = []trustStore{
	{"/usr/local/share/ca-certificates", []string{"update-ca-certificates"}},           // Debian, Ubuntu, Alpine
	{"/etc/pki/ca-trust/source/anchors", []string{"update-ca-trust", "extract"}},       // Fedora, Red Hat
	{"/etc/ca-certificates/trust-source/anchors", []string{"trust", "extract-compat"}}, // Arch
}

func certsTrustCommand() *cobra.Command {
	var path string
	var remove bool
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Let this machine trust the root of the local authority (node.tls.local_ca)",
		Long: "Let this machine trust the root of the local authority (node.tls.local_ca of the configuration),\n" +
			"which is made if it is not there yet. The root is good for nothing but local names.\n" +
			"Programs with a store of their own, such as Firefox, must be told by hand where it is.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadFile(path, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			local := &cfg.Node.TLS.LocalCA
			if len(local.Names) == 0 {
				return fmt.Errorf("%s has no node.tls.local_ca.names; expected some, such as localhost", path)
			}
			a, err := certs.OpenAuthority(local.Directory, local.Names)
			if err != nil {
				return err
			}
			for i := range trustStores {
				if _, err := os.Stat(trustStores[i].folder); err == nil {
					return trustStores[i].put(cmd, a, local.Directory, remove)
				}
			}
			return fmt.Errorf("no folder for roots was found on this system; the root is %s", certs.RootPath(local.Directory))
		},
	}
	cmd.Flags().StringVar(&path, "config", "/etc/bulwark/bulwark.yaml", "configuration of the edge")
	cmd.Flags().BoolVar(&remove, "remove", false, "trust it no longer")
	return cmd
}

// put lets the system trust the authority's root, or no longer.
func (t *trustStore) put(cmd *cobra.Command, a *certs.Authority, dir string, remove bool) error {
	// A machine may trust the roots of several authorities.
	at := filepath.Join(t.folder, fmt.Sprintf("bulwark-local-%x.crt", a.Root().SerialNumber.Bytes()[:4]))
	if remove {
		if err := os.Remove(at); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing the root: %w", err)
		}
	} else {
		text, err := os.ReadFile(certs.RootPath(dir))
		if err != nil {
			return fmt.Errorf("reading the root: %w", err)
		}
		if err := os.WriteFile(at, text, 0o644); err != nil {
			return fmt.Errorf("placing the root where the system looks for it: %w", err)
		}
	}
	update := exec.CommandContext(cmd.Context(), t.command[0], t.command[1:]...)
	if out, err := update.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", strings.Join(t.command, " "), err, strings.TrimSpace(string(out)))
	}
	if remove {
		fmt.Fprintf(cmd.OutOrStdout(), "%s is trusted no longer\n", a.Root().Subject)
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "%s is trusted by this machine until %s\n", a.Root().Subject, a.Root().NotAfter.Format(time.DateOnly))
	}
	return nil
}
