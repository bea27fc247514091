package l7

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
)

// TestLogJSON asks for the text of an entity from several goroutines at once.
func TestLogJSON(t *testing.T) {
	route := &Route{Entity: &config.Route{Name: "shop", Paths: []string{"/shop"}, Protocols: []config.Protocol{config.HTTP}}}
	service := &Service{Entity: &config.Service{Name: "shop", Host: "shop.test"}}
	want := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	wantRoute, wantService := want(route.Entity), want(service.Entity)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 100 {
				if got := string(route.LogJSON()); got != wantRoute {
					t.Errorf("route %s, want %s", got, wantRoute)
				}
				if got := string(service.LogJSON()); got != wantService {
					t.Errorf("service %s, want %s", got, wantService)
				}
			}
		})
	}
	work.Wait()
}
