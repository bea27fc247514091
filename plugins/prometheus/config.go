package prometheus

// Config is the configuration, as Kong has it.
type Config struct {
	PerConsumer           bool `json:"per_consumer" default:"false" doc:"Whether requests and bandwidth are counted for each consumer."`
	StatusCodeMetrics     bool `json:"status_code_metrics" default:"false" doc:"Whether requests are counted by the status of the answer, and streams by that of their log entry."`
	AIMetrics             bool `json:"ai_metrics" default:"false" unserved:"true" doc:"Metrics of the AI plugins."`
	LatencyMetrics        bool `json:"latency_metrics" default:"false" doc:"Whether there are histograms of latencies."`
	BandwidthMetrics      bool `json:"bandwidth_metrics" default:"false" doc:"Whether bytes of requests and responses, and of streams, are counted."`
	UpstreamHealthMetrics bool `json:"upstream_health_metrics" default:"false" doc:"Whether the health of targets is told: kong_upstream_target_health is 1 for the state that an address is in."`
	WasmMetrics           bool `json:"wasm_metrics" default:"false" unserved:"true" doc:"Metrics of Wasm filters."`
}
