# SPDX-License-Identifier: Apache-2.0
# Everything that is built or run in this repository starts here; `make` alone lists the targets.
# Nothing needs to be installed by hand beyond gcc, make, and Python 3.11 with its headers; what the
# tests need is fetched by pip into .venv. All outputs are in build/, .venv/ and src/lsca/lib/.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
# In an empty environment bash has a PATH, but its children have none, and Python then does not find itself.
export PATH := $(or $(PATH),/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
ifeq ($(origin CC),default)
CC := gcc
endif

PYTHON ?= python3
MACHINE := $(shell uname -m)
MACHINES := x86_64 aarch64
CROSS_CC ?= aarch64-linux-gnu-gcc
FUZZ_SECONDS ?= 10
# Further arguments for pytest: make test T='tests/unit -k log'
T ?=
# make V=1 shows the commands
Q := $(if $(V),,@)

GEN := build/gen
AGENT := src/lsca/lib/lsca-agent.so
PROXY := src/lsca/lib/lsca-proxy
JOIN := src/lsca/lib/lsca-join
HOSTS := src/lsca/lib/lsca-hosts
EXTENSION := src/lsca/_native.abi3.so
LOG_EXTENSION := src/lsca/_log.abi3.so
CROSS_AGENT := build/cross/lsca-agent.so

.PHONY: help setup native demo test check proof san cross bench capture-table programs api clean
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: native .venv/.dev ## create .venv with all that is needed; afterwards .venv/bin/lsca works

native: $(AGENT) $(PROXY) $(JOIN) $(HOSTS) $(EXTENSION) $(LOG_EXTENSION) ## build the agent, the proxy and the extension modules

demo: native .venv/bin/lsca ## an unmodified echo server and client, natively, in both routes and over streams
	@.venv/bin/python examples/demo/demo.py

test: setup ## run all tests (some of them: make test T='tests/unit -k log')
	@.venv/bin/python -m pytest $(T)

check: setup ## format, lint, types and the rules of the house
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	@.venv/bin/python -m pytest -q tests/unit/test_house.py

proof: setup ## kill runs with posted writes at 3,000 random moments, and try 600 random programs
	@LSCA_POST_KILLS=1000 LSCA_POST_SEEDS=300 .venv/bin/python -m pytest -q tests/post

bench: native .venv/bin/lsca ## measure against the kernel, strace and other handlers; writes bench.json
	@.venv/bin/python tests/bench/bench.py
	@.venv/bin/python tests/bench/peers.py

capture-table: native .venv/bin/lsca ## run the probes of capturing; writes the tables of docs/capture.md
	@.venv/bin/python tests/capture/page.py

api: .venv/bin/lsca native ## write docs/api.md from the docstrings
	@PYTHONPATH=src .venv/bin/python tests/api_page.py --write

programs: setup ## run real programs both ways; writes docs/programs.md
	@.venv/bin/python tests/programs/table.py --write docs/programs.md

clean: ## remove everything that was built, .venv included
	rm -rf build .venv dist src/lsca/lib $(EXTENSION) $(LOG_EXTENSION) bench.json
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the virtual environment --------------------------------------------------------------------
# Two steps: what runs LSCA needs neither pip nor a network; what tests it needs both.

# pip would write a script that imports `re`: 6 ms of every `lsca run`. Without site-packages (-S; the other verbs
# fetch them) and the user's settings (-I) Python starts in 6 ms instead of 8.
WRITE_LSCA = printf '\#!%s -IS\nimport sys\n\nsys.path.insert(0, "%s")\nfrom lsca.cli import script\n\nscript()\n' \
	'$(CURDIR)/.venv/bin/python' '$(CURDIR)/src' > .venv/bin/lsca && chmod +x .venv/bin/lsca

.venv/bin/lsca: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lsca needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv --without-pip .venv
	@echo '$(CURDIR)/src' > "$$(.venv/bin/python -c \
		'import sysconfig; print(sysconfig.get_path("purelib"))')/lsca.pth"
	@$(WRITE_LSCA)

define NO_PIP
This Python ($(PYTHON)) has neither ensurepip nor pip, and the tests need pytest.
On Debian and Ubuntu: apt-get install python3-venv
Then call make again. `make demo` works without it.
endef
export NO_PIP

.venv/.dev: pyproject.toml .venv/bin/lsca
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || \
		.venv/bin/python -m ensurepip >/dev/null 2>&1 || \
		$(PYTHON) -m pip --python .venv/bin/python install -q pip >/dev/null 2>&1 || \
		{ echo "$$NO_PIP" >&2; exit 1; }
	@echo "  pip   what the tests need"
	@.venv/bin/python -m pip install -q --disable-pip-version-check --root-user-action=ignore -e '.[dev]'
	@$(WRITE_LSCA)
	@touch $@

# ---- code made from the table -------------------------------------------------------------------
# The generator rewrites a file only when its text changes, hence the stamp.

CALLS := $(MACHINES:%=$(GEN)/calls_%.c)

$(GEN)/.stamp: $(wildcard src/lsca/table/*.py) src/lsca/codegen.py
	@mkdir -p $(@D)
	@echo "  gen   $(GEN)"
	$(Q)PYTHONPATH=src $(PYTHON) -m lsca.codegen $(GEN)
	@touch $@

$(CALLS) $(GEN)/plans.c: $(GEN)/.stamp ;

# ---- flags --------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Werror
DEPS = -MMD -MP -MF $(@:%=%.d)
# -D_GNU_SOURCE= is the same text as a file's own `#define _GNU_SOURCE`.
HOSTED := -std=gnu11 $(WARN) -D_GNU_SOURCE= -pthread -Inative/shared -Inative/shared/arch/$(MACHINE)
HARDENED := -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE

DAEMON_ROOMS := $(patsubst %,-Inative/daemon/%,launcher drainer handlers poster)

# The agent lives in other people's programs: no libc, no TLS, general registers only.
FREE := -std=gnu11 -O2 $(WARN) -ffreestanding -fno-builtin -fno-stack-protector \
	-fvisibility=hidden -fPIC -mgeneral-regs-only \
	-Inative/shared -Inative/agent -Inative/agent/post -Inative/agent/stream
FREE_x86_64 := -Inative/shared/arch/x86_64 -Inative/agent/arch/x86_64 \
	-mno-red-zone -fcf-protection=none -fno-asynchronous-unwind-tables
FREE_aarch64 := -Inative/shared/arch/aarch64 -Inative/agent/arch/aarch64 \
	-mno-outline-atomics
# As a library: first of all constructors, and never unloaded, since the kernel knows its addresses.
FREE_LINK := -shared -nostdlib -Wl,-soname,lsca-agent.so,-z,initfirst,-z,nodelete -Wl,-T,native/agent/agent.ld -Wl,-z,now,-z,noexecstack,-z,noseparate-code,-z,norelro,--no-undefined,-Bsymbolic,--hash-style=gnu,--build-id=none

# Sources of folder $(1) and its rooms for machine $(2): a suffix _<machine> keeps a file to that machine.
sources = $(filter-out $(foreach m,$(filter-out $(2),$(MACHINES)),%_$(m).c),$(wildcard native/$(1)/*.c native/$(1)/*/*.c))
objects = $(patsubst native/$(1)/%.c,build/$(1)/$(2)/%.o,$(call sources,$(1),$(2)))

# ---- the agent, for either machine --------------------------------------------------------------

cc_$(MACHINE) := $(CC)
cc_aarch64 ?= $(CROSS_CC)

define agent_rules
agent_$(1) := $(call objects,agent,$(1)) $(patsubst native/agent/%.c,build/agent/$(1)/%.o,$(wildcard native/agent/post/*.c native/agent/stream/*.c)) build/agent/$(1)/calls.o \
	$(patsubst native/agent/arch/$(1)/%,build/agent/$(1)/arch/%.o,$(wildcard native/agent/arch/$(1)/*.[cS]))
-include $$(agent_$(1):%=%.d)

build/agent/$(1)/arch/%.o: native/agent/arch/$(1)/% Makefile
	@mkdir -p $$(@D)
	@echo "  cc    $$<"
	$$(Q)$$(cc_$(1)) $$(FREE) $$(FREE_$(1)) $$(DEPS) -c -o $$@ $$<

build/agent/$(1)/calls.o: $(GEN)/calls_$(1).c Makefile
	@mkdir -p $$(@D)
	@echo "  cc    $$<"
	$$(Q)$$(cc_$(1)) $$(FREE) $$(FREE_$(1)) $$(DEPS) -c -o $$@ $$<

build/agent/$(1)/%.o: native/agent/%.c Makefile
	@mkdir -p $$(@D)
	@echo "  cc    $$<"
	$$(Q)$$(cc_$(1)) $$(FREE) $$(FREE_$(1)) $$(DEPS) -c -o $$@ $$<
endef
$(foreach m,$(MACHINES),$(eval $(call agent_rules,$(m))))

$(AGENT): $(agent_$(MACHINE))
	@mkdir -p $(@D)
	@echo "  link  $@"
	$(Q)$(cc_$(MACHINE)) $(FREE_LINK) -o $@.new $^ && mv $@.new $@

cross: .venv/bin/lsca ## build the agent for aarch64 and check that it is freestanding there
	@command -v $(CROSS_CC) >/dev/null || \
		{ echo "$(CROSS_CC) is missing; on Debian: apt-get install gcc-aarch64-linux-gnu" >&2; exit 1; }
	@$(MAKE) --no-print-directory $(CROSS_AGENT)
	.venv/bin/python tests/freestanding.py $(CROSS_AGENT)

$(CROSS_AGENT): $(agent_aarch64)
	@mkdir -p $(@D)
	@echo "  link  $@"
	$(Q)$(cc_aarch64) $(FREE_LINK) -o $@.new $^ && mv $@.new $@

# ---- the proxy ----------------------------------------------------------------------------------

# Static where there is a static libc: it is started and forked once for every program.
PROXY_LINK := -pthread -Wl,-z,now,-z,noexecstack
PROXY_FLAGS := $(HOSTED) $(HARDENED) -Inative/proxy -Inative/proxy/arch/$(MACHINE)
proxy_objects := $(call objects,proxy,$(MACHINE)) build/proxy/$(MACHINE)/calls.o \
	$(patsubst native/proxy/arch/$(MACHINE)/%,build/proxy/$(MACHINE)/arch/%.o,$(wildcard native/proxy/arch/$(MACHINE)/*.[cS]))
-include $(proxy_objects:%=%.d)

build/proxy/$(MACHINE)/arch/%.o: native/proxy/arch/$(MACHINE)/% Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(PROXY_FLAGS) $(DEPS) -c -o $@ $<

build/proxy/$(MACHINE)/calls.o: $(GEN)/calls_$(MACHINE).c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(PROXY_FLAGS) $(DEPS) -c -o $@ $<

build/proxy/$(MACHINE)/%.o: native/proxy/%.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(PROXY_FLAGS) $(DEPS) -c -o $@ $<

$(PROXY): $(proxy_objects)
	@mkdir -p $(@D)
	@echo "  link  $@"
	$(Q)$(CC) -static-pie $(PROXY_LINK) -o $@.new $^ 2>/dev/null || $(CC) -pie $(PROXY_LINK) -o $@.new $^
	$(Q)mv $@.new $@

# ---- what lets a program join a session ---------------------------------------------------------

-include build/join/$(MACHINE)/main.o.d

build/join/$(MACHINE)/main.o: native/join/main.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(HOSTED) $(HARDENED) $(DEPS) -c -o $@ $<

$(JOIN): build/join/$(MACHINE)/main.o
	@mkdir -p $(@D)
	@echo "  link  $@"
	$(Q)$(CC) -static $(PROXY_LINK) -o $@.new $^ 2>/dev/null || $(CC) -pie $(PROXY_LINK) -o $@.new $^
	$(Q)mv $@.new $@

# ---- the extension module -----------------------------------------------------------------------

# Two of them: what `lsca run` needs, and what reads logs. Both know the format of the files.
log_reader := array arrow changes columns decoded logfile module records resolve timeline times verify words
log_reader_objects := $(log_reader:%=build/log/$(MACHINE)/%.o) build/log/$(MACHINE)/plans.o
log_objects := $(filter-out $(log_reader_objects),$(call objects,log,$(MACHINE)))
extension_objects := $(call objects,daemon,$(MACHINE)) $(log_objects) build/daemon/$(MACHINE)/calls.o
-include $(extension_objects:%=%.d) $(log_reader_objects:%=%.d)
# Asked when it is needed, and then only once.
python_include = $(eval python_include := $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))'))$(python_include)

$(GEN)/.python: Makefile
	@mkdir -p $(@D)
	@test -e '$(python_include)/Python.h' || \
		{ echo "Python.h is missing; on Debian: apt-get install python3-dev" >&2; exit 1; }
	@touch $@

EXTENSION_FLAGS = $(HOSTED) -O2 -fPIC -fvisibility=hidden -DPy_LIMITED_API=0x030B0000 -Inative/log \
	-Inative/daemon $(DAEMON_ROOMS) -I'$(python_include)'

build/daemon/$(MACHINE)/%.o: native/daemon/%.c Makefile $(GEN)/.python
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(EXTENSION_FLAGS) $(DEPS) -c -o $@ $<

build/log/$(MACHINE)/%.o: native/log/%.c Makefile $(GEN)/.python
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(EXTENSION_FLAGS) $(DEPS) -c -o $@ $<

build/log/$(MACHINE)/plans.o: $(GEN)/plans.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(EXTENSION_FLAGS) $(DEPS) -c -o $@ $<

build/daemon/$(MACHINE)/calls.o: $(GEN)/calls_$(MACHINE).c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(EXTENSION_FLAGS) $(DEPS) -c -o $@ $<

$(EXTENSION): $(extension_objects)
	@echo "  link  $@"
	$(Q)$(CC) -shared -pthread -Wl,-z,now,-z,noexecstack -o $@.new $^ && mv $@.new $@

# ---- launchers without a program: the extension's, without Python ------------------------------

-include build/hosts/$(MACHINE)/main.o.d

build/hosts/$(MACHINE)/main.o: native/hosts/main.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(HOSTED) $(HARDENED) -Inative/daemon $(DAEMON_ROOMS) -Inative/log $(DEPS) -c -o $@ $<

hosts_objects := build/hosts/$(MACHINE)/main.o \
	$(filter-out $(patsubst %,build/daemon/$(MACHINE)/%.o,module handlers/request handlers/served launcher/started launcher/start poster/posted),$(extension_objects))

$(HOSTS): $(hosts_objects)
	@mkdir -p $(@D)
	@echo "  link  $@"
	$(Q)$(CC) -static-pie $(PROXY_LINK) -o $@.new $^ 2>/dev/null || $(CC) -pie $(PROXY_LINK) -o $@.new $^
	$(Q)mv $@.new $@

$(LOG_EXTENSION): $(log_reader_objects) build/log/$(MACHINE)/decode.o build/log/$(MACHINE)/hash.o
	@echo "  link  $@"
	$(Q)$(CC) -shared -pthread -Wl,-z,now,-z,noexecstack -o $@.new $^ && mv $@.new $@

# ---- sanitizers ---------------------------------------------------------------------------------
# native/tests/test_*.c: a program each, no arguments. fuzz_*.c: takes the seconds it may run.

SAN := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
san_tests := $(patsubst native/tests/%.c,build/san/%,$(wildcard native/tests/test_*.c))
san_fuzz := $(patsubst native/tests/%.c,build/san/%,$(wildcard native/tests/fuzz_*.c))
# One command compiles several files, and gcc would tell of the last one's headers only.
san_headers := $(wildcard native/*.h native/*/*.h native/*/*/*.h native/*/*/*/*.h)

build/san/fuzz_log: $(patsubst %,native/log/%.c,$(filter-out module,$(log_reader)) encode decode hash) $(GEN)/plans.c

build/san/%: native/tests/%.c $(GEN)/calls_$(MACHINE).c $(san_headers) Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(HOSTED) $(SAN) -Inative -Inative/log $(DAEMON_ROOMS) -Inative/proxy -Inative/proxy/arch/$(MACHINE) -o $@ $(filter %.c,$^)

san: $(san_tests) $(san_fuzz) ## native tests and fuzzing under address and undefined-behaviour sanitizers
	@set -e; for t in $(san_tests); do echo "$$t"; $$t; done
	@set -e; for t in $(san_fuzz); do echo "$$t $(FUZZ_SECONDS)"; $$t $(FUZZ_SECONDS); done
