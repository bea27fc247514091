# Bulwark's commands; `make` lists them. CI calls only targets of this file.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# A count and not a time: a worker that is busy when a time is over fails the run.
FUZZTIME ?= 20000x
# Inputs of each target in `make test`, besides those that are committed, which run
# as ordinary tests. `make fuzz` takes FUZZTIME.
FUZZSHORT := 5000x
ORIGIN   ?= 127.0.0.1:9000
CONFIG   ?= examples/quickstart.yaml
BENCH    ?=
GOARCH   ?= $(shell go env GOARCH)

# The time that stands in a release's archive; the commit's, so that two builds
# of one commit are one and the same.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# How many tests of a package run at once that say they may. Most of them wait: for
# a certificate to expire, for a program, for an authority.
PARALLEL := 4

TOOLS    := bin/tools
LDFLAGS  := -s -w -buildid= -X main.version=$(VERSION)
BUILD    := CGO_ENABLED=0 GOOS=linux GOARCH=$(GOARCH) go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
RELEASE  := bulwark-$(VERSION)-linux-$(GOARCH)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## Build bin/bulwark
	@mkdir -p bin
	$(BUILD) -o bin/bulwark ./cmd/bulwark

.PHONY: run
run: build ## Build and start an edge with a demo origin behind it; Ctrl-C ends both
	@exec bin/bulwark run --config $(CONFIG) --demo $(ORIGIN)

# The targets that come after static have -vet=off: it has vetted all packages.
.PHONY: check
check: static ## Linters, our own rules and unit tests, in under 3 minutes
	go test -race -vet=off -short -skip '^TestIntegration' ./...

.PHONY: test
test: deps static ## Everything, as CI runs it, in under 15 minutes
	go test -race -vet=off -parallel $(PARALLEL) -timeout 12m ./edge ./...
	@$(MAKE) plain
	@$(MAKE) fuzz FUZZTIME=$(FUZZSHORT)
	@$(MAKE) reproducible

.PHONY: race
race: ## All tests under the race detector, ten times over
	go test -race -count=10 -timeout 60m ./...

.PHONY: integration
integration: deps ## Only the tests against real servers and clients
	go test -race -count=1 -run '^TestIntegration' ./...

.PHONY: fuzz
fuzz: ## Each fuzz target for FUZZTIME (20000x unless told, or a time such as 10m)
	@internal/devtools/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: bench-deps build ## Measure against nginx and HAProxy, side by side (BENCH=flags)
	bin/bulwark bench compare --bulwark bin/bulwark $(BENCH)

.PHONY: bench-routes
bench-routes: bench-deps build ## Measure what 15,000 routes cost (BENCH=flags)
	bin/bulwark bench routes-15k --bulwark bin/bulwark $(BENCH)

.PHONY: tls-scan
tls-scan: build ## Let testssl.sh look at the default TLS policy, in some minutes
	@internal/devtools/deps.sh openssl curl testssl
	@internal/devtools/tlsscan.sh bin/bulwark

.PHONY: generate
generate: ## Write the generated files anew: schemas and pages of docs/
	go generate ./...

.PHONY: docs
docs: generate ## Write the generated pages of docs/ and hold the others against the code
	go test -count=1 ./internal/lint

.PHONY: release
release: reproducible ## Build dist/: archive and checksum, after proving the build reproducible
	@rm -rf dist && mkdir -p dist/$(RELEASE)
	@cp bin/reproducible/one dist/$(RELEASE)/bulwark
	@cp packaging/bulwark.service packaging/sysusers.conf README.md LICENSE CHANGELOG.md SECURITY.md dist/$(RELEASE)/
	@mkdir dist/$(RELEASE)/examples && cp examples/*.yaml dist/$(RELEASE)/examples/
	@chmod -R u=rwX,go=rX dist/$(RELEASE)
	@tar --sort=name --mtime=@$(SOURCE_DATE_EPOCH) --owner=0 --group=0 --numeric-owner --format=gnu \
		-C dist -cf - $(RELEASE) | gzip -n -9 >dist/$(RELEASE).tar.gz
	@rm -r dist/$(RELEASE)
	@cd dist && sha256sum *.tar.gz >SHA256SUMS && cat SHA256SUMS

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist

# What the targets above are made of.

# What runs a second time, without the race detector, because something else is
# tested then: counts of allocations, for which the detector's own do not stand
# (in every package that has a test named ...Alloc...); the calls that sockets are
# read and written by (internal/sock has others under the detector), by its own
# tests and by all golden scripts of the edge (tunnels and half-closes by these calls
# are left to internal/sock's tests), which under the detector split a script's
# bytes at every fourth border only; and the reload storms, which make 25 times as
# many changes, with three times as many routes. What compiles the WAF's rules again
# and again, or holds them against much content, runs only here, and so does the rule
# set's regression suite: under the detector it takes many minutes, and shows nothing,
# since one goroutine computes. All else is the same code in both and runs once.
# In make test ./edge is named before ./..., since it takes longest.
.PHONY: plain
plain:
	go test -vet=off -count=1 ./internal/sock ./internal/testkit/crs ./waf ./plugins/waf
	go test -vet=off -count=1 -run '^TestGolden$$|^TestReloadStorm' ./edge
	go test -vet=off -count=1 -run Alloc $$(grep -rlE --include='*_test.go' '^func Test[A-Za-z0-9]*Alloc' . | xargs -n1 dirname | sort -u | grep -vxF -e ./waf -e ./plugins/waf)

.PHONY: deps
deps:
	@internal/devtools/deps.sh cc nginx nginx-stream nginx-modsecurity haproxy curl wrk h2load nghttp openssl dnsmasq dig redis-server redis-cli update-ca-certificates sqlmap

.PHONY: bench-deps
bench-deps:
	@internal/devtools/deps.sh nginx nginx-stream nginx-modsecurity haproxy wrk h2load openssl

.PHONY: tools
tools:
	@mkdir -p $(TOOLS)
	@go build -C internal/devtools -o ../../$(TOOLS)/ mvdan.cc/gofumpt honnef.co/go/tools/cmd/staticcheck golang.org/x/tools/cmd/deadcode

.PHONY: static
static: tools
	@echo 'gofumpt'
	@unformatted=$$($(TOOLS)/gofumpt -l .); \
		[ -z "$$unformatted" ] || { echo "not in gofumpt's format:"; echo "$$unformatted"; exit 1; }
	@echo 'go mod tidy -diff'
	@go mod tidy -diff
	@echo 'go vet'
	@go vet ./...
	@echo 'staticcheck'
	@$(TOOLS)/staticcheck -checks all ./...
	@echo 'deadcode'
	@dead=$$($(TOOLS)/deadcode -test ./...); \
		[ -z "$$dead" ] || { echo "$$dead"; exit 1; }
	@echo 'generated files'
	@internal/devtools/generated.sh

# The binary is built twice, the second time from a copy of the tree in another
# place and with an empty build cache: both must be equal, byte by byte.
.PHONY: reproducible
reproducible:
	@echo 'reproducible build'
	@rm -rf bin/reproducible && mkdir -p bin/reproducible
	@$(BUILD) -o bin/reproducible/one ./cmd/bulwark
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; mkdir "$$copy/tree"; \
		tar --exclude=./.git --exclude=./bin --exclude=./dist -cf - . | tar -C "$$copy/tree" -xf -; \
		two="$$PWD/bin/reproducible/two"; cd "$$copy/tree"; \
		GOCACHE="$$copy/cache" $(BUILD) -o "$$two" ./cmd/bulwark
	@cmp bin/reproducible/one bin/reproducible/two || \
		{ echo 'two builds of one tree differ; look for paths or times in the binary'; exit 1; }
