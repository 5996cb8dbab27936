# The front door: what a person or CI runs. `make help` lists it.

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS      = -s -w -X sluice/cmd/gateway/cli.version=$(VERSION)
BUILD        = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
PLATFORMS    = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK  = golang.org/x/vuln/cmd/govulncheck@v1.9.0
GORELEASER   = github.com/goreleaser/goreleaser/v2@v2.15.0
ACTIONLINT   = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GREMLINS     = github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
FUZZTIME    ?= 10s
SEEDS       ?= 1000
KILLS       ?= 1000
RACES       ?= 3
GORELEASER_RUN = $(if $(findstring @,$(GORELEASER)),$(GO) run $(GORELEASER),$(GORELEASER))
E2E          = bench/e2e
PEERS        = bench/peers

HOSTARCH    := $(shell $(GO) env GOARCH)
ARCH        ?= $(HOSTARCH)
ENGINES     ?= docker podman buildah
CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt
REVISION    := $(shell git rev-parse HEAD 2>/dev/null)
CREATED     := $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)

.PHONY: help run build servers test test-product test-e2e test-long test-near breaks race poison docs seeds fleetseeds crash test-foreign nightly race-all crash-all fuzz bench quick load peers libzstd libzstd-fuzz recording profile lint mutation vulncheck cross image image-files share release reproduce deploy vet-deploy clean

help: ## list the targets
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: ## build, then run the demo: events of a simulated Discord, no token needed
	@echo "building; the first time takes a minute or two" >&2
	@if [ -t 2 ]; then export GOFLAGS="$$($(GO) env GOFLAGS) -v"; fi; $(MAKE) --no-print-directory build
	@bin/gateway demo

# git refuses a checkout that belongs to another user, and Go then refuses to build: it leaves
# out the revision instead. Exported, for the tests build too.
ifneq ($(shell git status --porcelain >/dev/null 2>&1; echo $$?),0)
export GOFLAGS := $(shell $(GO) env GOFLAGS) -buildvcs=false
endif

build: ## bin/gateway and bin/gateway-bench
	@$(BUILD) -o bin/ ./cmd/...

servers: # what the tests start for themselves
	@missing=; command -v redis-server >/dev/null || missing=redis-server; \
	  ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-* >/dev/null 2>&1 || [ "$$(uname)" != Linux ] || missing="$$missing rabbitmq-server"; \
	  command -v promtool >/dev/null || [ "$$(uname)" != Linux ] || missing="$$missing prometheus"; \
	  command -v chromium >/dev/null || [ "$$(uname)" != Linux ] || missing="$$missing chromium"; \
	  [ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; } || \
	  { echo "the tests start servers of their own: install $$missing (Debian: apt-get install $$missing)" >&2; exit 1; }

# The two modules run beside each other: bench/e2e mostly waits for the programs that it starts.
test: servers ## every test, those of the nested module included; what takes long is in test-long
	@$(MAKE) --no-print-directory -j 2 -k --output-sync=target test-product test-e2e

# Half of what linking sixty programs costs is for debuggers.
LINK = -ldflags=-s

# Most of what a package does is to wait: twice as many at once as there are processors.
AT_ONCE = $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))

# Kills run twice: with the tag, the gateway has points to end at.
test-product:
	$(GO) test -p $(AT_ONCE) -timeout 30m $(LINK) $(TESTFLAGS) ./... && $(GO) test $(LINK) $(TESTFLAGS) -tags failpoints -run 'TestPoints|TestRun$$' ./bench/crash

test-e2e:
	cd $(E2E) && $(GO) test -timeout 30m $(LINK) $(TESTFLAGS) ./...

test-long: servers ## the tests at length: more events, more kills, goroutines left behind
	$(GO) test $(TESTFLAGS) -count=1 -tags long -timeout 30m ./bench ./bench/crash ./engine ./sinks/...
	$(GO) test $(TESTFLAGS) -count=1 -timeout 30m ./bench/fleetsim -seeds 40
	cd $(E2E) && $(GO) test $(TESTFLAGS) -count=1 -tags long -timeout 2h ./...

test-near: # one package, of whichever module
	$(if $(filter $(E2E),$(NEAR)),cd $(E2E) && $(GO) test $(TESTFLAGS) .,$(GO) test $(TESTFLAGS) ./$(NEAR))

breaks: servers ## break the product in small ways: does a test notice each? BREAKS='heartbeats' for some
	@$(GO) run ./bench/breaks $(BREAKS)

poison: servers ## the tests of what uses pooled buffers, with released ones overwritten
	$(GO) test -timeout 30m -tags poison ./engine ./internal/zstd ./pool ./wire ./bench ./bench/sim ./sinks/stdio

race: servers ## every test, RACES=3 times under the race detector
	$(GO) test -race -count=$(RACES) -timeout 60m ./...
	cd $(E2E) && $(GO) test -race -count=$(RACES) -timeout 60m ./...

docs: servers ## run the code blocks of README.md and docs, as somebody would who follows them
	$(GO) test -count=1 -tags docs -timeout 30m ./bench/docs

seeds: ## SEEDS=1000 seeds of faults; one again: make seeds SEED=17
	$(GO) test -tags long ./engine -run 'TestFaultSeeds' -count=1 -timeout 60m -seeds $(SEEDS) $(if $(SEED),-seed $(SEED))

fleetseeds: ## SEEDS=1000 seeds of faults for a fleet of five processes; one again: make fleetseeds SEED=17
	$(GO) test ./bench/fleetsim -run TestFleetSeeds -count=1 -timeout 60m -seeds $(SEEDS) $(if $(SEED),-seed $(SEED) -whole)

crash: ## kill the gateway KILLS=1000 times: CRASH='-sink redis -store redis', with -faults whatever else can go wrong
	$(GO) run ./cmd/gateway-bench crash -kills $(KILLS) $(CRASH)

test-foreign: ## clients written by others, in every language that is here, against the simulated Discord
	cd $(E2E) && $(GO) test -count=1 -v -timeout 60m -tags foreign -run 'TestForeign' ./...

# Beside .ci/run, when nobody waits: each part with its bound, fourteen hours in all. A part that fails does not keep the others from running.
NIGHTLY = test-long:120m race-all:90m poison:10m docs:15m breaks:90m crash-all:90m seeds:40m test-foreign:30m fuzz:110m load:90m mutation:120m reproduce:30m vet-deploy:15m
nightly: ## all that takes long: race detector over everything, kills, fuzzing, seeds, foreign clients, measurements
	@failed=; for part in $(NIGHTLY); do echo "=== $$part ($$(date +%T))"; \
	  timeout $${part#*:} $(MAKE) --no-print-directory $${part%:*} SEEDS=20000 FUZZTIME=3m || failed="$$failed $$part"; done; \
	  [ -z "$$failed" ] || { echo "failed, or not done in time:$$failed"; exit 1; }

race-all: servers # the long tests of the product too
	$(GO) test -race -count=1 -timeout 60m -tags long ./...
	cd $(E2E) && $(GO) test -race -count=1 -timeout 60m ./...

crash-all: servers # each sink and store that promises something else
	$(MAKE) crash CRASH='-sink redis -store redis'
	$(MAKE) crash CRASH='-sink amqp -store file'
	$(MAKE) crash CRASH='-sink file -store file'
	$(MAKE) crash CRASH='-faults -sink redis -store redis' KILLS=$$(($(KILLS) / 4))

# A package is built once for all of its targets: go test would link it for each.
fuzz: ## each fuzz target for FUZZTIME=10s
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
	  (cd $$dir; $(GO) test -c -fuzz=. -o "$$tmp/fuzz.test" .; \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' *_test.go | cut -c 6- | sort); do \
	    echo "$$dir $$target"; "$$tmp/fuzz.test" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 20x \
	      -test.fuzzcachedir "$$($(GO) env GOCACHE)/fuzz/$$dir"; \
	  done); done

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
	@if command -v cargo >/dev/null; then cd $(PEERS)/twilight && \
	  cargo build --quiet --release --locked && cp target/release/peer-twilight target/none && \
	  cargo build --quiet --release --locked --features zstd && cp target/release/peer-twilight target/zstd && \
	  cp start ../bin/twilight && cp start ../bin/twilight-parse; \
	else echo "no cargo here: twilight is left out"; fi

# libzstd, as a program: bench/libzstd, in Rust as the strongest of the peers.
LIBZSTD = $(CURDIR)/bench/libzstd/target/release/libzstd
$(LIBZSTD): bench/libzstd/src/main.rs bench/libzstd/Cargo.toml bench/libzstd/Cargo.lock
	cd bench/libzstd && cargo build --quiet --release --locked

libzstd: $(LIBZSTD) ## the decoder of zstd-stream beside klauspost's and libzstd, by turns; needs cargo
	$(GO) test ./internal/zstd -run '^$$' -bench 'Decode/^events' -benchtime 300x -libzstd $(LIBZSTD)

libzstd-fuzz: $(LIBZSTD) # FuzzDecode beside libzstd as well, for FUZZTIME=10s; needs cargo
	$(GO) test ./internal/zstd -run '^$$' -fuzz '^FuzzDecode$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 20x -libzstd $(LIBZSTD)

recording: $(LIBZSTD) ## have libzstd make the simulator's recorded events anew; needs cargo
	$(GO) test ./bench/sim -count=1 -run TestRecordedEvents -libzstd $(LIBZSTD)

profile: build ## where the gateway spends its time: LOAD=flood-1
	@bin/gateway-bench profile $(or $(LOAD),flood-1)

lint: ## gofmt, go vet, staticcheck, and the quick tests of layout, wording and breakages
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	cd $(E2E) && $(GO) vet ./...
	$(GO) vet -tags 'long failpoints' ./bench/... ./engine ./sinks/...
	cd $(E2E) && $(GO) vet -tags long ./...
	cd $(PEERS) && $(GO) vet ./...
	cd wire/scangen && $(GO) vet ./...
	cd docs/consumers/go && $(GO) vet ./...
	$(GO) vet -tags docs ./bench/docs
	cd $(E2E) && $(GO) vet -tags foreign ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -vet=off -run 'TestImports|TestMap|TestTopLevel|TestBreakagesHavePlace' ./bench ./bench/breaks && $(GO) test -vet=off ./bench/words

# FILES and SKIP make a sample of it: of the code, and of the tests. No vet: what it refuses is
# not noticed by a test. Gremlins runs with -failfast, and with the timeout of .gremlins.yaml.
mutation: servers ## changes to the code that no test notices: PKG=./resume, FILES='keeper.go valid.go', SKIP='TestCrash|TestSlow'
	@set -e; for pkg in $(or $(PKG),./engine ./internal/record ./internal/zstd ./pool ./resume ./sinks ./wire); do \
	  exclude='-E ^testdata/'; for f in $$(cd $$pkg && find . -name '*.go' ! -name '*_test.go' | cut -c3-); do \
	    case " $(or $(FILES),$$f) " in *" $$f "*) ;; *) exclude="$$exclude -E ^$$f$$";; esac; done; \
	  echo "$$pkg"; GOFLAGS='-count=1 -vet=off -short$(if $(SKIP), -skip=$(SKIP))' nice -n 19 \
	    $(GO) run $(GREMLINS) unleash --config .gremlins.yaml $$exclude $$pkg; done

vulncheck: ## known vulnerabilities of the dependencies; needs the vulnerability database
	$(GO) run $(GOVULNCHECK) ./...

cross: ## build for every supported system
	@for p in $(PLATFORMS); do echo "$$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o /dev/null ./cmd/gateway || exit 1; done
	@for os in darwin windows; do echo "vet $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) vet ./... || exit 1; done

# What the image consists of, for each architecture; no engine is needed for it.
image-files: # bin/image
	@rm -rf bin/image && mkdir -p bin/image/data
	@cp $(CERTIFICATES) bin/image/ca-certificates.crt
	@for arch in $(ARCH); do GOOS=linux GOARCH=$$arch $(BUILD) -buildvcs=false -o bin/image/$$arch/gateway ./cmd/gateway || exit 1; done

# Docker's image format, for OCI's has no HEALTHCHECK. An engine without a daemon is told to need no privileges.
image: image-files ## a container image, sluice:VERSION, by docker, podman or buildah; for another machine ARCH=arm64
	@set -e; engine=; for e in $(ENGINES); do $$e info >/dev/null 2>&1 && { engine=$$e; break; }; done; \
	case $$engine in '') echo "none of $(ENGINES) works here" >&2; exit 1;; docker) format=;; *) format='--format docker';; esac; \
	case $$engine in buildah) export BUILDAH_ISOLATION=chroot;; esac; \
	for arch in $(ARCH); do tag=$(VERSION); [ $$arch = $(HOSTARCH) ] || tag=$$tag-$$arch; \
	  $$engine build $$format --platform linux/$$arch --target prebuilt --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg CREATED=$(CREATED) \
	    --build-arg TARGETARCH=$$arch -t sluice:$$tag . ; echo "$$engine: sluice:$$tag"; done

share: # bin/share: completions and the manual, as the packages have them
	@rm -rf bin/share && mkdir -p bin/share/completions bin/share/man
	@$(BUILD) -o bin/ ./cmd/gateway
	@bin/gateway completion bash >bin/share/completions/gateway.bash
	@bin/gateway completion zsh >bin/share/completions/_gateway
	@bin/gateway completion fish >bin/share/completions/gateway.fish
	@bin/gateway man >bin/share/man/gateway.1

# Without a tag on the commit it is a snapshot, which is not published. Its version is VERSION.
release: ## dist/: archives, deb, rpm, checksums, SBOM; GORELEASER=goreleaser for one that is installed
	VERSION=$(VERSION) $(GORELEASER_RUN) release --snapshot --clean

reproduce: ## the release twice, in two checkouts: the same in every byte?
	.ci/reproduce

# A module of its own: Helm's is larger than all else here. Its inputs are outside of it, where Go's test cache does not look.
# Without go vet, which takes longer to compile than all the rest: nightly has it.
deploy: ## test what the gateway is deployed by: Helm chart, compose.yaml, dashboard, workflows
	cd bench/deploy && $(GO) test $(TESTFLAGS) -vet=off -count=1 .
	$(GO) run $(ACTIONLINT) .github/workflows/*.yaml

vet-deploy: # all of go vet, of which go test runs a part
	cd bench/deploy && $(GO) vet .

clean: ## remove bin and dist
	rm -rf bin dist
