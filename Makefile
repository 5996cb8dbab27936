# The front door: what a person or CI runs. `make help` lists it.

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS      = -s -w -X sluice/cmd/gateway/cli.version=$(VERSION)
BUILD        = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
PLATFORMS    = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK  = golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME    ?= 10s
SEEDS       ?= 1000
KILLS       ?= 1000
RACES       ?= 3
E2E          = bench/e2e
PEERS        = bench/peers

.PHONY: help run build servers test test-long test-near breaks race poison seeds crash test-foreign fuzz bench quick load peers profile lint vulncheck cross image release clean

help: ## list the targets
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: build ## build, then run the demo: events of a simulated Discord, no token needed
	@bin/gateway demo

build: ## bin/gateway and bin/gateway-bench
	@$(BUILD) -o bin/ ./cmd/...

servers: # what the tests start for themselves
	@missing=; command -v redis-server >/dev/null || missing=redis-server; \
	  ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-* >/dev/null 2>&1 || [ "$$(uname)" != Linux ] || missing="$$missing rabbitmq-server"; \
	  [ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; } || \
	  { echo "the tests start servers of their own: install $$missing (Debian: apt-get install $$missing)" >&2; exit 1; }

# bench/crash runs twice: with the tag, the gateway has points to end at.
test: servers ## every test, those of the nested module included; what takes long is in test-long
	$(GO) test $(TESTFLAGS) ./...
	$(GO) test $(TESTFLAGS) -tags failpoints ./bench/crash
	cd $(E2E) && $(GO) test $(TESTFLAGS) ./...

test-long: servers ## the tests at length: more events, more kills, goroutines left behind
	$(GO) test $(TESTFLAGS) -tags long -timeout 30m ./bench
	cd $(E2E) && $(GO) test $(TESTFLAGS) -tags long -timeout 60m ./...

test-near: # one package, of whichever module
	$(if $(filter $(E2E),$(NEAR)),cd $(E2E) && $(GO) test $(TESTFLAGS) .,$(GO) test $(TESTFLAGS) ./$(NEAR))

breaks: servers ## break the product in small ways: does a test notice each? BREAKS='heartbeats' for some
	@$(GO) run ./bench/breaks $(BREAKS)

poison: servers ## the tests of what uses pooled buffers, with released ones overwritten
	$(GO) test -tags poison ./engine ./pool ./wire/... ./bench ./bench/sim ./sinks/stdio

race: servers ## every test, RACES=3 times under the race detector
	$(GO) test -race -count=$(RACES) -timeout 60m ./...
	cd $(E2E) && $(GO) test -race -count=$(RACES) -timeout 60m ./...

seeds: ## SEEDS=1000 seeds of faults; one again: make seeds SEED=17
	$(GO) test ./engine -run 'TestFaultSeeds' -count=1 -timeout 60m -seeds $(SEEDS) $(if $(SEED),-seed $(SEED))

crash: ## kill the gateway KILLS=1000 times: CRASH='-sink redis -store redis', with -faults whatever else can go wrong
	$(GO) run ./cmd/gateway-bench crash -kills $(KILLS) $(CRASH)

test-foreign: ## clients written by others, in every language that is here, against the simulated Discord
	cd $(E2E) && $(GO) test -count=1 -v -timeout 60m -run 'TestForeign' ./... -foreign

fuzz: ## each fuzz target for FUZZTIME=10s
	@set -e; for module in . $(E2E); do for pkg in $$(cd $$module && $(GO) list ./...); do \
	  for target in $$(cd $$module && $(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; (cd $$module && $(GO) test $$pkg -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x); \
	  done; done; done

bench: ## the benchmarks of the parts, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./...

quick: build ## the load harness, shortly: does it work?
	@bin/gateway-bench run -quick -html quick.html

load: build peers ## measure the gateway and others as processes: LOAD='flood-1 idle-1000', all by default; load.json, load.html
	@ulimit -n $$(ulimit -Hn); bin/gateway-bench run -json load.json -html load.html $(foreach p,$(wildcard $(PEERS)/bin/*),-peer $(notdir $(p))=$(p)) $(LOAD)

peers: ## bench/peers/bin: clients written by others, to be measured beside the gateway
	cd $(PEERS) && $(GO) build -o bin/ ./discordgo ./disgo
	@if command -v npm >/dev/null; then cd $(PEERS)/discordjs && npm ci --no-audit --no-fund --ignore-scripts --prefer-offline >/dev/null && \
	  printf '#!/bin/sh\nexec node "$$(dirname "$$0")/../discordjs/main.mjs"\n' > ../bin/discordjs && chmod +x ../bin/discordjs; \
	else echo "no npm here: @discordjs/ws is left out"; fi

profile: build ## where the gateway spends its time: LOAD=flood-1
	@bin/gateway-bench profile $(or $(LOAD),flood-1)

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	cd $(E2E) && $(GO) vet ./...
	$(GO) vet -tags 'long failpoints' ./bench/...
	cd $(E2E) && $(GO) vet -tags long ./...
	cd $(PEERS) && $(GO) vet ./...
	cd docs/consumers/go && $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

vulncheck: ## known vulnerabilities of the dependencies; needs the vulnerability database
	$(GO) run $(GOVULNCHECK) ./...

cross: ## build for every supported system
	@for p in $(PLATFORMS); do echo "$$p"; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/gateway && \
	  GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) vet ./... || exit 1; done

image: ## a container image, sluice:VERSION
	docker build --build-arg VERSION=$(VERSION) -t sluice:$(VERSION) -t sluice:latest .

release: ## dist/: an archive for each system, and their checksums
	@rm -rf dist && mkdir -p dist
	@for p in $(PLATFORMS); do \
	  os=$${p%/*} arch=$${p#*/} ext=; [ $$os = windows ] && ext=.exe; \
	  dir=dist/sluice-$(VERSION)-$$os-$$arch; mkdir -p $$dir; \
	  GOOS=$$os GOARCH=$$arch $(BUILD) -o $$dir/gateway$$ext ./cmd/gateway || exit 1; \
	  cp README.md LICENSE $$dir/; tar -C dist -czf $$dir.tar.gz $${dir#dist/}; rm -r $$dir; \
	done; cd dist && sha256sum *.tar.gz > SHA256SUMS && cat SHA256SUMS

clean: ## remove bin and dist
	rm -rf bin dist
