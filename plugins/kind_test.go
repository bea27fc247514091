package plugins

import (
	"errors"
	"strings"
	"testing"
)

type testConfig struct {
	Limit int `json:"limit" default:"3" min:"1" doc:"How many."`
}

func TestDefine(t *testing.T) {
	type instance struct {
		limit int
		state *State
	}
	state := new(State)
	kind := Define(Spec[testConfig]{
		Name: "test", Scopes: NotConsumer, Speaks: HTTP,
		New: func(cfg testConfig, env Env) (any, error) {
			if cfg.Limit > 9 {
				return nil, errors.New("too many")
			}
			return &instance{cfg.Limit, env.State}, nil
		},
	})
	if kind.Name != "test" || kind.Scopes != NotConsumer || kind.Speaks != HTTP || len(kind.Schema.Fields()) != 1 {
		t.Errorf("kind %+v", kind)
	}
	got, err := kind.Build(&testConfig{Limit: 5}, Env{State: state})
	if err != nil {
		t.Fatal(err)
	}
	if i, ok := got.(*instance); !ok || i.limit != 5 || i.state != state {
		t.Errorf("instance %+v", got)
	}
	if _, err := kind.Build(&testConfig{Limit: 10}, Env{}); err == nil || err.Error() != "too many" {
		t.Errorf("error %v", err)
	}
	if _, err := kind.Build("no configuration", Env{}); err == nil || !strings.HasPrefix(err.Error(), "BUG: ") {
		t.Errorf("error %v, want a broken invariant", err)
	}
}

func TestAllows(t *testing.T) {
	tests := []struct {
		name   string
		scopes Scope
		want   string // the scopes allowed, of "", service, route, consumer
	}{
		{"anywhere", Anywhere, "global service route consumer"},
		{"not for consumers", NotConsumer, "global service route"},
		{"global only", Global, "global"},
		{"routes only", Route, "route"},
		{"listeners", Listener, "listener"},
		{"nowhere", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, scope := range []string{"", "service", "route", "consumer", "listener", "workspace"} {
				if (Kind{Scopes: tt.scopes}).Allows(scope) {
					if scope == "" {
						scope = "global"
					}
					got = append(got, scope)
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("allows %q, want %q", s, tt.want)
			}
		})
	}
}
