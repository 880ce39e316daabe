# openruko: build, test and install. `make help` lists the targets.

PREFIX  ?= /usr/local
DESTDIR ?=
# dev or release
PROFILE ?= release
STATE   ?= /var/lib/openruko-demo
# What the tests of storage run against.
SWIFT = 2.38.3
# Of fuzzing; make test does less.
SECONDS ?= 600

bindir     = $(DESTDIR)$(PREFIX)/bin
libexecdir = $(DESTDIR)$(PREFIX)/libexec/openruko
sharedir   = $(DESTDIR)$(PREFIX)/share/openruko
mandir     = $(DESTDIR)$(PREFIX)/share/man
# Where bash, zsh and fish look for what completes a program's words.
completiondirs = $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)

CARGO      ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
OUT        := $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

# What the first `openruko up` takes over from its environment for builds; sudo hands on nothing by itself.
CLOSED_NETWORK = http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY \
  SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS \
  NPM_CONFIG_REGISTRY PIP_CERT PIP_INDEX_URL PIP_DEFAULT_TIMEOUT
empty :=
comma := ,
preserved = $(subst $(empty) $(empty),$(comma),$(strip $(CLOSED_NETWORK)))
ROOT  := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=$(preserved))

# What runs: containers, the network for them, git over ssh.
RUN_PACKAGES   = lxc uidmap nftables conntrack iproute2 e2fsprogs squashfs-tools mmdebstrap openssh-server openssh-client \
  git sudo
# What builds find in a container, since it shares the host's /usr.
STACK_PACKAGES = bash build-essential ca-certificates coreutils curl gzip jq openssl python3 python3-dev \
  python3-pip tar xz-utils
# The languages of the other buildpacks that ship, and Maven's plugins, for the tests: they take a gigabyte.
LANGUAGE_PACKAGES = ruby ruby-bundler golang-go php-cli composer default-jdk-headless maven \
  libmaven-clean-plugin-java libmaven-compiler-plugin-java libmaven-jar-plugin-java libmaven-resources-plugin-java \
  libsurefire-java
# What building and testing openruko itself takes.
DEV_PACKAGES   = cmake gcc groff-base libc6-dev make postgresql shellcheck python3-venv
# What the benchmark compares the router with. Unpacked below the target directory, not installed: as services of Debian's
# they would start.
BENCH_PACKAGES = nginx-light haproxy wrk sqlite3

SHELL_FILES = $(wildcard hooks/* lxc-templates/openruko-* lxc-templates/*.sh buildpacks/*/bin/* demo/*.sh tests/*/*.sh \
  tests/fixtures/buildpacks/*/bin/* fuzz/*.sh crates/*/src/*.sh) .ci/run \
  .cargo/rustc-static-tools

.PHONY: help manual deps languages build install demo test need-root lint unit system objectstore fuzz-api fuzz bench clean

# The targets of `make test` need what `deps` installs, and one checkout; cargo uses all processors anyway.
.NOTPARALLEL:

help:
	@echo 'make deps      install the Debian packages that running, building and testing need'
	@echo 'make languages install Ruby, Go, PHP, Java and Rust as well, for their buildpacks'
	@echo 'make build     build everything (PROFILE=dev or release; now: $(PROFILE))'
	@echo 'make install   install below PREFIX (now: $(PREFIX)), staged below DESTDIR'
	@echo 'make demo      run the whole platform on STATE (now: $(STATE)) and push sample apps through it'
	@echo 'make test      every check and test; needs root for the system tests'
	@echo 'make manual    write man pages and completions anew, after a change of options or of the configuration'
	@echo 'make fuzz-api  fuzz the Platform API for SECONDS (now: $(SECONDS))'
	@echo 'make fuzz      fuzz what reads strangers'"'"' bytes, each target for SECONDS (now: $(SECONDS))'
	@echo 'make bench     measure; figures go to target/bench/results.json'
	@echo 'make clean     remove what was built'

# A package that is there already is left alone. $(1): packages.
define install_missing
missing=; for p in $(1); do \
  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
done; \
if [ -n "$$missing" ]; then \
  echo "installing:$$missing"; \
  $(ROOT) apt-get update -qq && \
  $(ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
fi
endef

# npm may come with another Node.js than Debian's.
deps:
	@$(call install_missing,$(RUN_PACKAGES) $(STACK_PACKAGES) $(DEV_PACKAGES) \
	  $(shell command -v npm >/dev/null || echo nodejs npm))

# A Cargo that is too old for crates.io as it is today is what some releases of Debian call cargo; the newer one is there
# under another name.
languages: deps
	@$(call install_missing,$(LANGUAGE_PACKAGES))
	@[ -x /usr/bin/cargo ] || { $(ROOT) apt-get update -qq; rust=cargo; \
	  ! apt-cache show cargo-web >/dev/null 2>&1 || rust=cargo-web; echo "installing: $$rust"; \
	  $(ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$rust; }

# The router apart: what its HTTP library wants of shared libraries (zlib-ng, in C, for one) is not for the others.
build:
	$(CARGO) build --locked --workspace --exclude openruko-router --profile $(PROFILE)
	$(CARGO) build --locked --package openruko-router --profile $(PROFILE)

# The one list of what goes where.
install:
	install -d $(bindir) $(libexecdir)/tools $(sharedir)/hooks $(sharedir)/templates
	install -m755 $(OUT)/openruko $(OUT)/ruko-fetch $(bindir)
	install -m755 $(addprefix $(OUT)/,openruko-api openruko-git openruko-host openruko-router openruko-serve \
	  ruko-container) $(libexecdir)
	install -m755 $(addprefix $(OUT)/,ruko-dyno ruko-slug) $(libexecdir)/tools
	ln -sf ../libexec/openruko/ruko-container $(bindir)/ruko-container
	ln -sf ../libexec/openruko/tools/ruko-slug $(bindir)/ruko-slug
	install -m755 hooks/* $(sharedir)/hooks
	install -m755 $(filter-out %.seccomp,$(wildcard lxc-templates/openruko*)) $(sharedir)/templates
	install -m644 $(wildcard lxc-templates/*.seccomp lxc-templates/*.sh) $(sharedir)/templates
	install -d $(addprefix $(mandir)/man,1 5 8) $(completiondirs)
	install -m644 docs/man/*.1 $(mandir)/man1
	install -m644 docs/man/*.5 $(mandir)/man5
	install -m644 docs/man/*.8 $(mandir)/man8
	for file in completions/*.bash; do install -m644 $$file $(word 1,$(completiondirs))/$$(basename $$file .bash); done
	for file in completions/*.zsh; do install -m644 $$file $(word 2,$(completiondirs))/_$$(basename $$file .zsh); done
	install -m644 completions/*.fish $(word 3,$(completiondirs))
	$(OUT)/openruko completions bash >$(word 1,$(completiondirs))/openruko
	$(OUT)/openruko completions zsh >$(word 2,$(completiondirs))/_openruko
	$(OUT)/openruko completions fish >$(word 3,$(completiondirs))/openruko.fish
	find buildpacks -type d -exec install -d $(sharedir)/{} \;
	find buildpacks -type f -perm -u+x -exec install -m755 {} $(sharedir)/{} \;
	find buildpacks -type f ! -perm -u+x -exec install -m644 {} $(sharedir)/{} \;

demo: deps
	$(MAKE) build
	$(ROOT) $(MAKE) install PREFIX=$(STATE)/prefix OUT=$(OUT)
	$(ROOT) demo/demo.sh $(STATE)

test: need-root languages lint unit system
	$(MAKE) fuzz-api SECONDS=45

# First of all: nobody should wait minutes for this.
need-root:
	@test "$$(id -u)" = 0 || { \
	  echo 'make: the system tests make users, bridges and containers: run this as root'; \
	  echo '      (`make lint unit` needs no root)'; \
	  exit 1; \
	} >&2

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	shellcheck -x $(SHELL_FILES)

# All that fails is told, not the first alone.
unit:
	$(CARGO) test --locked --workspace --no-fail-fast

# The tests compare what is kept in docs/man and completions with what the programs say.
PROGRAMS = openruko openruko-api openruko-git openruko-host openruko-router openruko-serve ruko-container ruko-fetch ruko-slug
manual:
	UPDATE_MANUAL=1 $(CARGO) test --locked $(addprefix -p ,$(PROGRAMS)) --lib --no-fail-fast man_page_and_completions
	UPDATE_MANUAL=1 $(CARGO) test --locked -p ruko-core --test manual
	$(CARGO) test --locked -p ruko-manual

# All at once and with all targets, as `unit` builds them, so that what they share is built once.
SYSTEM_TESTS = $(addsuffix /system,ruko-container ruko-forward ruko-storage openruko-host openruko-tests)
system: need-root objectstore
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --no-fail-fast --features $(subst $(empty) $(empty),$(comma),$(SYSTEM_TESTS)) --test system

# OpenStack Swift, which speaks S3 as well, for the tests of storage. By pip, from the index that it is configured for:
# Debian's packages would bring services with them.
objectstore: $(TARGET_DIR)/objectstore/swift-$(SWIFT)
$(TARGET_DIR)/objectstore/swift-$(SWIFT):
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check swift==$(SWIFT)
	touch $@

# Python's packages come from the index that pip is configured for, once. All is built, as above: alone, the API would be built
# a second time, with fewer features of what it shares.
fuzz-api:
	$(CARGO) build --locked --workspace --all-targets
	tests/fuzz-api/run.sh $(SECONDS) $(TARGET_DIR)/debug/openruko-api $(TARGET_DIR)/schemathesis

fuzz:
	fuzz/run.sh $(SECONDS)

$(TARGET_DIR)/bench/root:
	mkdir -p $@.debs/partial
	$(ROOT) apt-get update -qq
	$(ROOT) apt-get install -y -qq --no-install-recommends --download-only \
	  -o Dir::Cache::archives=$(abspath $@.debs) -o APT::Sandbox::User=root $(BENCH_PACKAGES)
	mkdir $@.new && for deb in $@.debs/*.deb; do \
	  [ ! -e $$deb ] || dpkg-deb --extract $$deb $@.new || exit 1; done
	mv $@.new $@

bench: deps $(TARGET_DIR)/bench/root
	$(MAKE) build
	$(CARGO) run --locked --release --package openruko-tests --bin bench
	$(CARGO) run --locked --release --package openruko-tests --bin bench_dynos
	$(CARGO) run --locked --release --package openruko-tests --bin bench_api
	$(CARGO) run --locked --release --package openruko-tests --bin bench_keys
	$(CARGO) run --locked --release --package openruko-tests --bin bench_router

clean:
	$(CARGO) clean
