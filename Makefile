# Needs Go, make and git. `make test` installs what else it wants (scripts/install-test-needs).
.PHONY: run example build test check unit bench fuzz fuzz-short faults screenshots

FUZZTIME ?= 5m

# The demo world on this machine. Options go in ARGS: make run ARGS=--once
run: build
	./bin/huanxin demo $(ARGS)

# A shop with sign-in by SMS, without the guard and with it: the story of a number's former and present holder.
example: build
	go run ./examples/shop -demo ./bin/huanxin $(ARGS)

build:
	CGO_ENABLED=0 go build -trimpath -o bin/huanxin ./cmd/huanxin

# Everything that must hold before a change goes in; what CI runs.
test: check unit fuzz-short

check:
	scripts/install-test-needs
	scripts/check-format
	go mod tidy -diff
	go vet ./...
	go tool staticcheck ./...

# SQLite itself, C made into Go, is not watched for races: it alone would take as long as all else.
UNWATCHED = $(foreach p,modernc.org/sqlite/lib modernc.org/libc/... modernc.org/memory,-gcflags=$(p)=-race=false)

# -race needs cgo, whatever the environment says of it. check has vetted already. A busy machine may take several times as
# long as a quiet one.
unit:
	CGO_ENABLED=1 go test -race $(UNWATCHED) -shuffle=on -vet=off -timeout 20m $(UNITFLAGS) ./...

# Prints the figures of PERFORMANCE.md with hardware and command. Without Redis that line says so.
bench:
	-scripts/install-test-needs peers
	go run ./bench $(ARGS)
	go test ./internal/web -run - -bench .

fuzz:
	scripts/fuzz $(FUZZTIME)

fuzz-short:
	scripts/fuzz 3s

# Pictures of the holder's pages, as people in the tests see them, to be looked at: in screenshots/.
screenshots:
	mkdir -p screenshots
	HUANXIN_SCREENSHOTS=$(CURDIR)/screenshots go test ./internal/sandbox/e2e -count=1

# Kills the hub at random moments for much longer than `make test` does, and an agent at every step on every database; flips every bit of a snapshot.
faults:
	HUANXIN_FAULTS=long go test ./internal/server ./agent ./internal/index -run 'Killed|Flipped' -count=1 -v -timeout 30m
