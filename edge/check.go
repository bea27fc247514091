package edge

import (
	"log/slog"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/issuer"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
	"github.com/bulwark-edge/bulwark/upstream"
)

// Check compiles a valid configuration as an edge would that starts with it, and
// throws the outcome away: TLS policies with their authorities and revocation
// lists, plugins with their rules and data files. Nothing is bound, asked for or
// written to: no listener, no log, no folder of certificates. The error tells of
// everything that is wrong.
func Check(cfg *config.Config, o Options) error {
	quiet := *cfg
	quiet.Node.Log.Access, quiet.Node.Log.WAF, quiet.Node.Log.WAFAudit = config.LogOff, config.LogOff, config.LogOff
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	env := Env{
		Kinds:     o.Kinds,
		Product:   "bulwark/" + o.Version,
		Log:       log,
		Metrics:   telemetry.NewMetrics(telemetry.Options{Version: o.Version}),
		Upstreams: upstream.NewSet(),
		Shared:    new(l7.Shared),
		State:     new(plugins.State),
		Bans:      new(l4.Bans),
		Issuer:    issuer.New(issuer.Options{Product: "bulwark/" + o.Version, Log: log}),
		Keys:      policy.NewKeys(),
		Peers:     peer.NewRevocation(peer.Settings{Log: log}),
		checking:  true,
	}
	defer env.Upstreams.Close()
	defer env.Peers.Close()
	s, err := Compile(&quiet, nil, nil, env)
	if err != nil {
		return err
	}
	s.discard()
	return nil
}
