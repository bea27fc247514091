package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswerBytes bounds the agent's answer about one service.
	maxAnswerBytes = 8 << 20
	// maxInstances bounds the instances of a service that are used.
	maxInstances = 1024
	// answerGrace is what an answer may take beyond the time the agent may hold
	// the question back, if it may; the agent itself adds up to a sixteenth.
	answerGrace = 10 * time.Second
	// maxErrorBytes bounds what is told of an agent's error.
	maxErrorBytes = 200
)

// instance is one place where a service runs. host is empty if addr is valid.
type instance struct {
	addr   netip.Addr
	host   string
	port   uint16
	weight int
}

// health is what is read of an element of /v1/health/service.
type health struct {
	Node struct {
		Address string
	}
	Service struct {
		Address string
		Port    int
		Weights struct {
			Passing int
		}
	}
}

// catalogue is an agent's HTTP API with the settings it is asked by.
type catalogue struct {
	settings *Settings
	client   *http.Client
}

// ask returns the instances whose checks pass. With an index that is not 0 it
// waits, for as long as the settings say, until there is something newer.
func (c *catalogue) ask(ctx context.Context, s service, index uint64) (list []instance, newer uint64, err error) {
	limit := answerGrace
	if index > 0 {
		limit += c.settings.Wait + c.settings.Wait/16
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(s, index), nil)
	if err != nil {
		return nil, 0, err
	}
	if c.settings.Token != "" {
		req.Header.Set("X-Consul-Token", c.settings.Token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
		return nil, 0, fmt.Errorf("the agent answers %d %q", resp.StatusCode, strings.TrimSpace(string(text)))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading the agent's answer: %w", err)
	}
	if len(text) > maxAnswerBytes {
		return nil, 0, fmt.Errorf("the agent's answer has over %d bytes", maxAnswerBytes)
	}
	newer, err = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64)
	if err != nil {
		return nil, 0, errors.New("the agent's answer has no X-Consul-Index: is it an agent?")
	}
	list, err = parseInstances(text)
	return list, newer, err
}

func (c *catalogue) url(s service, index uint64) string {
	q := url.Values{"passing": {"1"}}
	if s.tag != "" {
		q.Set("tag", s.tag)
	}
	if dc := cmp.Or(s.datacenter, c.settings.Datacenter); dc != "" {
		q.Set("dc", dc)
	}
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", strconv.FormatInt(c.settings.Wait.Milliseconds(), 10)+"ms")
	}
	u := c.settings.Address.JoinPath("v1/health/service", s.name)
	u.RawQuery = q.Encode()
	return u.String()
}

// parseInstances reads the answer of /v1/health/service. Instances that cannot
// be sent to are left out.
func parseInstances(text []byte) ([]instance, error) {
	var all []health
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("reading the agent's answer: %w", err)
	}
	var list []instance
	for i := range all {
		h := &all[i]
		in := instance{host: cmp.Or(h.Service.Address, h.Node.Address), weight: min(max(1, h.Service.Weights.Passing), 1<<16-1)}
		if h.Service.Port < 0 || h.Service.Port > 1<<16-1 || in.host == "" {
			continue
		}
		in.port = uint16(h.Service.Port)
		if a, err := netip.ParseAddr(in.host); err == nil {
			in.addr, in.host = a.Unmap(), ""
		}
		list = append(list, in)
	}
	slices.SortFunc(list, func(a, b instance) int {
		return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port), cmp.Compare(b.weight, a.weight))
	})
	list = slices.CompactFunc(list, func(a, b instance) bool {
		return a.addr == b.addr && a.host == b.host && a.port == b.port
	})
	return list[:min(len(list), maxInstances)], nil
}
