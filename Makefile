# make run    a web server container from nothing, in one command
# make test   everything CI runs
# The other targets are listed by `make help`.

PREFIX ?= /usr/local
DESTDIR ?=
NODE = $(shell echo node_modules/node-linux-*/bin/node)
SOURCES = $(shell find src -name '*.ts' ! -name '*.test.ts') scripts/build.ts package-lock.json
# Words for vitest: make test ARGS='src/storage -t whiteout'
ARGS ?=
# Parts of the benchmark: make bench ONLY=run,exec
ONLY ?=

.PHONY: help run test lint build soak bench compatibility install clean bootstrap

help:
	@echo 'make run      install what is needed, build, and show a web server in a container'
	@echo 'make test     install what the tests need, check the sources, build, run every test'
	@echo 'make lint     format, types, imports'
	@echo 'make build    the bundles in dist/ that bin/tare runs'
	@echo 'make soak     the tests that take long: 600 kills, 300 losses of power, 20,000 archives, 1,000 containers'
	@echo 'make compatibility  run the tests of clients and endpoints; writes docs/compatibility.md (ARGS= for some of them)'
	@echo 'make bench    compare with Docker and Podman; writes docs/benchmarks.md (ONLY=run,exec for parts)'
	@echo 'make install  to $$DESTDIR$$PREFIX (now $(DESTDIR)$(PREFIX))'
	@echo 'make clean    remove what was built; keeps node_modules'

run:
	@scripts/bootstrap run
	@$(MAKE) --no-print-directory build
	@scripts/demo

test:
	@scripts/bootstrap test
	@$(MAKE) --no-print-directory lint build
	@$(NODE) scripts/test.ts $(ARGS)

bootstrap:
	@scripts/bootstrap build

lint: bootstrap
	@node_modules/.bin/biome check --error-on-warnings
	@node_modules/.bin/tsc

build: bootstrap
	@$(MAKE) --no-print-directory dist/tare.cjs

dist/tare.cjs: $(SOURCES)
	@echo 'building dist'
	@$(NODE) scripts/build.ts

soak:
	@scripts/bootstrap test
	@$(MAKE) --no-print-directory build
	@TARE_COPIES=2000 TARE_KILLS=200 TARE_POWER_CUTS=300 TARE_ARCHIVES=20000 TARE_NETWORK_KILLS=100 TARE_BUILD_KILLS=100 TARE_CROWD=1000 $(NODE) scripts/test.ts \
		test/docker/copy-rival.test.ts test/never-lost.test.ts test/power-loss.test.ts src/storage/layers/unpack-reference.test.ts \
		test/network/killed.test.ts test/network/networks.test.ts test/network/drivers.test.ts \
		test/network/crowd.test.ts test/build/killed.test.ts $(ARGS)

compatibility: build
	@scripts/bootstrap test
	@TARE_COMPATIBILITY=write $(NODE) scripts/test.ts $(or $(ARGS),$$(grep -rl --include='*.test.ts' '/compatibility.ts' test))

bench:
	@scripts/bootstrap bench
	@$(MAKE) --no-print-directory build
	@$(NODE) bench/main.ts $(if $(ONLY),--only $(ONLY))

install: build
	@scripts/install '$(DESTDIR)' '$(PREFIX)'

clean:
	rm -rf dist .cache
