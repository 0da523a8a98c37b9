# Conductor. `make` builds, `make install` installs, `make deb` makes Debian's package, `make test` checks everything, `make demo` shows it.
PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo

BINDIR = $(PREFIX)/bin
LIBDIR = $(PREFIX)/lib
RELEASE = $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: all docs site install deb rpm demo test bench bench-cgi bench-proxy bench-rollouts fuzz

# The units name the program where it is installed. The generator is built on its own, so that it
# has none of the command line's features.
all:
	CONDUCTOR_PROGRAM=$(BINDIR)/conductor CONDUCTOR_LIBDIR=$(LIBDIR)/conductor $(CARGO) build --release --package conductor
	CONDUCTOR_PROGRAM=$(BINDIR)/conductor CONDUCTOR_LIBDIR=$(LIBDIR)/conductor $(CARGO) build --release --package conductor-generator
	CONDUCTOR_PROGRAM=$(BINDIR)/conductor CONDUCTOR_LIBDIR=$(LIBDIR)/conductor $(CARGO) build --release --package conductor-pages
	pod=$$(CARGO=$(CARGO) packaging/build-pod) && install -m 0755 "$$pod" $(RELEASE)/pod
	rm -rf $(RELEASE)/pages $(RELEASE)/schemas && $(RELEASE)/conductor-pages docs $(RELEASE)/pages $(RELEASE)/schemas
	set -e; mkdir -p $(RELEASE)/completions; for shell in bash fish zsh; do \
		$(RELEASE)/conductor completions $$shell > $(RELEASE)/completions/$$shell; done

# Writes the tables of keys in docs/ out of the descriptions in src/key/.
docs:
	$(CARGO) run --quiet --package conductor-pages -- --tables docs

# Builds docs/ as a site, target/site/docs/index.html, by mdbook: `cargo install mdbook`. Pages link to examples and scenarios.
site: docs
	@command -v mdbook >/dev/null || { echo "mdbook is not installed: cargo install mdbook" >&2; exit 1; }
	rm -rf target/site
	mdbook build docs
	mkdir -p target/site/tests/machine/src
	cp -r examples target/site/
	cp -r tests/machine/src/scenarios target/site/tests/machine/src/

# Installs what `make` with the same PREFIX has built.
install:
	install -D -m 0755 $(RELEASE)/conductor $(DESTDIR)$(BINDIR)/conductor
	install -d $(DESTDIR)$(LIBDIR)/conductor/oci
	ln -sf ../../../bin/conductor $(DESTDIR)$(LIBDIR)/conductor/oci/crun
	ln -sf ../../../bin/conductor $(DESTDIR)$(LIBDIR)/conductor/oci/runc
	install -m 0755 $(RELEASE)/pod $(DESTDIR)$(LIBDIR)/conductor/pod
	install -D -m 0755 $(RELEASE)/conductor-generator $(DESTDIR)$(LIBDIR)/systemd/system-generators/conductor-generator
	install -d $(DESTDIR)$(LIBDIR)/systemd/user-generators
	ln -sf ../system-generators/conductor-generator $(DESTDIR)$(LIBDIR)/systemd/user-generators/conductor-generator
	install -d $(DESTDIR)$(LIBDIR)/systemd/system
	sed 's|@BINDIR@|$(BINDIR)|g' units/conductor-proxy.service.in > $(DESTDIR)$(LIBDIR)/systemd/system/conductor-proxy.service
	sed 's|@BINDIR@|$(BINDIR)|g' 'units/conductor-live@.service.in' > '$(DESTDIR)$(LIBDIR)/systemd/system/conductor-live@.service'
	sed 's|@BINDIR@|$(BINDIR)|g' 'units/conductor-refuse@.service.in' > '$(DESTDIR)$(LIBDIR)/systemd/system/conductor-refuse@.service'
	install -m 0644 'units/conductor-live@.timer' $(DESTDIR)$(LIBDIR)/systemd/system/
	install -d $(DESTDIR)$(LIBDIR)/systemd/user
	ln -sf '../system/conductor-live@.service' '../system/conductor-live@.timer' $(DESTDIR)$(LIBDIR)/systemd/user/
	install -m 0644 units/conductor-names.service units/conductor.slice units/conductor-cgi.slice $(DESTDIR)$(LIBDIR)/systemd/system/
	set -e; for proxy in caddy nginx haproxy; do \
		install -d $(DESTDIR)$(LIBDIR)/systemd/system/$$proxy.service.d; \
		sed 's|@BINDIR@|$(BINDIR)|g; s|@LIBDIR@|$(LIBDIR)/conductor|g' units/$$proxy.service.d/conductor.conf.in > $(DESTDIR)$(LIBDIR)/systemd/system/$$proxy.service.d/conductor.conf; done
	install -D -m 0644 units/nginx/conductor.conf $(DESTDIR)/etc/nginx/conf.d/conductor.conf
	install -D -m 0644 units/Caddyfile $(DESTDIR)$(LIBDIR)/conductor/Caddyfile
	install -D -m 0644 units/sysusers.d/conductor.conf $(DESTDIR)$(LIBDIR)/sysusers.d/conductor.conf
	install -D -m 0644 units/tmpfiles.d/conductor.conf $(DESTDIR)$(LIBDIR)/tmpfiles.d/conductor.conf
	set -e; for page in $(RELEASE)/pages/*; do \
		install -D -m 0644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}; done
	install -d $(DESTDIR)$(PREFIX)/share/conductor/schemas
	install -m 0644 $(RELEASE)/schemas/* $(DESTDIR)$(PREFIX)/share/conductor/schemas/
	install -D -m 0644 $(RELEASE)/completions/bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/conductor
	install -D -m 0644 $(RELEASE)/completions/fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/conductor.fish
	install -D -m 0644 $(RELEASE)/completions/zsh $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_conductor
	install -d $(DESTDIR)$(PREFIX)/share/doc/conductor
	cp -r --no-preserve=ownership examples $(DESTDIR)$(PREFIX)/share/doc/conductor/

# Debian's package of it, in target/deb.
deb:
	$(MAKE) all PREFIX=/usr
	packaging/build-deb

# The same as an RPM, in target/rpm.
rpm:
	$(MAKE) all PREFIX=/usr
	packaging/build-rpm

demo:
	./tests/machine/run --demo

test:
	./tests/run

bench:
	./benches/run

bench-cgi:
	./benches/cgi

# Requests through each reverse proxy, and how long a route takes until it is served.
bench-proxy:
	./benches/run proxy

# A million requests through each reverse proxy while a service is updated all the time.
bench-rollouts:
	./benches/run rollouts

# Each target of fuzz/ for so many seconds, from its seeds and what it has found before.
FUZZ_TIME ?= 60
fuzz:
	cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz
	set -e; cd fuzz; for target in response manifest overlay pod unit; do mkdir -p corpus/$$target; \
		cargo fuzz run --sanitizer none $$target corpus/$$target seeds/$$target -- -max_total_time=$(FUZZ_TIME) -max_len=4096; done
