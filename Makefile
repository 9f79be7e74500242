# make run and make test install what is missing, build, and go. Everything else is a part of them.
.PHONY: all build native setup setup-test guest guest-fio run test test-qemu10 test-deb soak deb asan test-asan fuzz crash-test sim mutants model bench clean help
.NOTPARALLEL:
all: build

help:
	@echo 'make run       the demonstration: a VM on slow storage, moved, its host killed, its data verified (90 seconds)'
	@echo '               SABOTAGE=ack-early runs a broken build, which must be caught; KEEP=1 keeps the files of a failed run'
	@echo 'make test      all tests; T="core replay" only those with one of these words in their path'
	@echo 'make test-qemu10  the tests that boot guests with the QEMU 10 of Debian'\''s backports, fetched beside the installed one'
	@echo 'make soak      what takes minutes: 300 kills under a client that checks everything, 100 under fio in a guest; no storage for 90 s;'
	@echo '               three rounds of hosts that die, are cut off, and come back'
	@echo 'make deb       the Debian package, in build/deb: the program, its unit, man pages, completion; the same tree gives the same bytes'
	@echo 'make test-deb  its test: installed, used and purged in a minimal Debian, which is fetched once from the mirror that apt uses'
	@echo 'make           builds only: the native shim, and TypeScript to dist/'
	@echo 'make setup     installs the Debian and npm packages that are missing, and fetches the guest'\''s kernel'
	@echo 'make asan      the native shim with AddressSanitizer and UBSan'
	@echo 'make test-asan the tests of the shim, the device and a replay with that build'
	@echo 'make fuzz      attacks the device and the shim for SECONDS=60; SEED=N begins with that seed'
	@echo 'make crash-test cuts the power of a volume under load for SECONDS=60, recovers it and checks every sector; SEED=N POINT=N'
	@echo '               is one crash again; MUTANT=ack-before-durable, trim-before-backing-flush or skip-record-checksum must be caught'
	@echo 'make sim       clusters in virtual time under faults, SEEDS=200 of them FROM=1; SEED=N TRACE=1 is one again, with what happened'
	@echo 'make mutants   broken copies of the program, which the simulator must catch, and rules taken away, which the search must find;'
	@echo '               MUTANT=newest-first only that one of the simulator'
	@echo 'make model     everything that can happen to three hosts around the real ownership machine, at small bounds (minutes, up to 2 GB);'
	@echo '               SCOPE=failover only that one, MUTANTS=1 each rule taken away, MUTANT=R4 one of them, with its shortest trace'
	@echo 'make bench     the data path against qemu-storage-daemon in ROUNDS=7 of SECONDS=2 each, and what a start costs: docs/performance.md;'
	@echo '               ROWS="write4k recovery" only rows whose names begin with one of these words, JSON=1; build/bench.json'
	@echo 'make clean     removes everything that was built, but not node_modules'

build: native
	@fixtures/setup/compile.sh

native:
	@$(MAKE) --no-print-directory -C native all

setup:
	@fixtures/setup/packages.sh run
	@fixtures/setup/kernel.sh

setup-test:
	@fixtures/setup/packages.sh test
	@fixtures/setup/kernel.sh

guest:
	@fixtures/guest/build-initramfs build/guest/guest.cpio

guest-fio:
	@fixtures/guest/build-initramfs build/guest/guest-fio.cpio fio

run: setup build guest
	@node --enable-source-maps dist/fixtures/demo/main.js

test: setup-test build guest guest-fio
	@node --enable-source-maps dist/fixtures/setup/run-tests.js $(T)

test-qemu10: setup-test build guest guest-fio
	@fixtures/setup/qemu10.sh
	@PATH="$(CURDIR)/build/qemu10/bin:$$PATH" node --enable-source-maps dist/fixtures/setup/run-tests.js tests/guest/ tests/e2e/

deb: setup build
	@packaging/build-deb.sh

test-deb: setup-test build
	@fixtures/setup/debian-tree.sh
	@node --enable-source-maps dist/fixtures/setup/run-tests.js tests/packaging/

soak: setup-test build guest guest-fio
	@for seed in 1 2 3; do KILLS=100 SEED=$$seed node --enable-source-maps dist/fixtures/setup/run-tests.js e2e/killed-often || exit 1; done
	@for half in 1 2; do KILLS=50 node --enable-source-maps dist/fixtures/setup/run-tests.js e2e/killed-under-fio || exit 1; done
	@DIRTY_MIB=4096 DIRTY_BLOCK_KIB=4 TAP_TIMEOUT=1200 node --enable-source-maps dist/fixtures/setup/run-tests.js cluster/guest-pause
	@OUTAGE_SECONDS=90 node --enable-source-maps dist/fixtures/setup/run-tests.js cluster/storage-outage
	@for round in 1 2 3; do node --enable-source-maps dist/fixtures/setup/run-tests.js tests/cluster || exit 1; done

asan:
	@$(MAKE) --no-print-directory -C native asan

test-asan: build
	@fixtures/setup/test-asan.sh

SECONDS ?= 60
fuzz: build
	@node --enable-source-maps dist/fixtures/fuzz/main.js --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# A seed alone is one stream; with SECONDS from the command line it is where a long run begins.
crash-test: build
	@node --enable-source-maps dist/fixtures/crash/main.js $(if $(and $(SEED),$(filter file,$(origin SECONDS))),,--seconds $(SECONDS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(POINT),--point $(POINT)) $(if $(MUTANT),--mutant $(MUTANT)) $(if $(ORDER),--order $(ORDER))

SEEDS ?= 200
FROM ?= 1
sim: build
	@node --enable-source-maps dist/fixtures/sim/main.js $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --from $(FROM)) \
	  $(if $(HOSTS),--hosts $(HOSTS)) $(if $(STEPS),--steps $(STEPS)) $(if $(TRACE),--trace)

mutants: build
	@node dist/fixtures/sim/main.js $(if $(MUTANT),--mutant $(MUTANT),--mutants)
	@$(if $(MUTANT),,$(MAKE) --no-print-directory model MUTANTS=1)

model: build
	@node --max-old-space-size=2800 --enable-source-maps dist/fixtures/model/main.js $(if $(SCOPE),--scope $(SCOPE)) $(if $(MUTANTS),--mutants) $(if $(MUTANT),--mutant $(MUTANT))

# SECONDS has a default here that is not meant for this one.
bench: build
	@node --enable-source-maps dist/fixtures/bench/main.js $(if $(filter file,$(origin SECONDS)),,--seconds $(SECONDS)) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ROWS),--rows '$(ROWS)') $(if $(LIBBLKIO),--libblkio '$(LIBBLKIO)') $(if $(JSON),--json)

clean:
	@$(MAKE) --no-print-directory -C native clean
	rm -rf dist build .tap
