package config

import "github.com/bulwark-edge/bulwark/config/schema"

// Resilience bounds what upstreams in trouble are asked. With the defaults it
// bounds nothing.
type Resilience struct {
	RetryBudget RetryBudget     `json:"retry_budget" doc:"Bound on the retries of each upstream by its requests."`
	Breaker     Breaker         `json:"breaker" doc:"Bounds of each address of a target; one at its bound is passed over, and with all of them there the answer is 503."`
	SlowStart   schema.Duration `json:"slow_start" default:"0s" min:"0s" max:"1h" doc:"Time in which a target that health checks found healthy again gets its full share, from a tenth on; 0s gives it at once."`
	Hedge       Hedge           `json:"hedge" doc:"Second tries of safe requests that wait too long for an answer."`
}

// RetryBudget bounds the retries of an upstream, beside the retries of each
// request.
type RetryBudget struct {
	Percent      int `json:"percent" default:"0" min:"0" max:"100" doc:"Retries for each hundred requests; 0 means no bound."`
	MinPerSecond int `json:"min_per_second" default:"10" min:"0" max:"100000" doc:"Retries per second that are allowed besides, however few requests there are."`
}

// Breaker bounds what one address of a target bears.
type Breaker struct {
	Connections int `json:"connections" default:"0" min:"0" max:"10000000" doc:"Requests under way at once, each of which takes a connection; 0 means no bound."`
	Pending     int `json:"pending" default:"0" min:"0" max:"10000000" doc:"Connections being opened at once; 0 means no bound."`
}

// Hedge lets a GET, HEAD or OPTIONS request without content that has no answer
// yet be sent to another address too. The answer that comes first is taken.
type Hedge struct {
	Delay        schema.Duration `json:"delay" default:"0s" min:"0s" max:"1h" doc:"Time without an answer's head after which a GET, HEAD or OPTIONS request without content is sent to another address too, once, if the service's retries allow a further try; the answer that comes first is taken. 0s means never."`
	Percent      int             `json:"percent" default:"5" min:"1" max:"100" doc:"Hedges of an upstream for each hundred of its requests."`
	MinPerSecond int             `json:"min_per_second" default:"1" min:"0" max:"100000" doc:"Hedges per second that are allowed besides, however few requests there are."`
}
