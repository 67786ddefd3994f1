# Platypus: agents that deploy software by intent.
#
#	make demo      see it work (installs what is missing); make demo-infra: with Terraform
#	make check     run the tests (installs what is missing)
#	make           build only
#	make install   PREFIX=/usr/local DESTDIR=
#	make lint bench fuzz fault     separate campaigns
#
# SAN=address,undefined builds and checks with sanitizers, CC=clang with clang;
# each variant has its own object directory. WERROR=1 makes warnings errors, V=1
# shows whole commands.

say = $(if $(V),,@echo '  $(1)	$(2)';)

ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
WERROR ?=
PREFIX ?= /usr/local
BUILD ?= build
comma := ,
variant := $(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
O := $(BUILD)/$(variant)

VERSION := 0.1.0
packages := libcurl jansson yaml-0.1 libarchive libuv libseccomp libcrypto zlib

# Compiling needs the libraries; the goals that install them do not.
pkg = $(shell pkg-config $(1) $(packages) 2>/dev/null)

warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wformat=2 -Wimplicit-fallthrough $(if $(WERROR),-Werror)
hardening := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
CFLAGS ?= -O2 -g
cflags := -std=c11 -D_GNU_SOURCE -Iinclude -DINTENT_VERSION='"$(VERSION)"' \
	$(call pkg,--cflags) $(warnings) $(hardening) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer) \
	$(CFLAGS)
ldflags := -pie -Wl,-z,relro,-z,now -Wl,--as-needed \
	$(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
libs := $(call pkg,--libs)

lib_src := $(wildcard libintent/*/*.c)
agents := $(patsubst agents/%/agent.c,%,$(wildcard agents/*/agent.c))
agent_src := $(foreach a,$(agents),$(wildcard agents/$(a)/*.c))
ppctl_src := $(wildcard agents/ppctl/*.c agents/ppctl/*/*.c)
unit_src := $(wildcard t/unit/*.c)
# Programs that shell tests and campaigns use; one file each.
tool_src := $(filter-out t/fault/nomem.c,$(wildcard t/it/*.c t/fault/*.c t/bench/*.c))

obj = $(patsubst %.c,$(O)/%.o,$(1))
lib := $(O)/libintent.a
agent_bin := $(agents:%=$(O)/bin/pp-%)
ppctl_bin := $(if $(ppctl_src),$(O)/bin/ppctl)
unit_bin := $(unit_src:%.c=$(O)/%)
tool_bin := $(tool_src:%.c=$(O)/%)
# A planner is plan.c and what it is split into, plan-*.c.
planners := $(wildcard agents/*/plan.c agents/*/plan-*.c)
# What agents read that others wrote, as pure, and tested and fuzzed by itself.
parsers := $(wildcard agents/*/parse-*.c)
# ppctl's compiler is as pure as they are, and tested as they are.
compiler := $(wildcard agents/ppctl/system/*.c)
all_obj := $(call obj,$(lib_src) $(agent_src) $(ppctl_src) $(unit_src) $(tool_src))

.PHONY: all help check demo demo-infra install bench fuzz lint fault clean tests dependencies pure
.DELETE_ON_ERROR:
.SECONDARY:

# The seeds' names of programs, as LINK:PROGRAM.
aliases := pp-iptables:pp-port-firewall pib-local:ppctl
alias_bin := $(foreach a,$(aliases),$(O)/bin/$(word 1,$(subst :, ,$(a))))

all: $(agent_bin) $(alias_bin) $(ppctl_bin) pure

# What stands above.
help:
	@sed -n '/^#	make/,/^$$/s/^#	*//p' Makefile

tests: all $(unit_bin) $(tool_bin) $(O)/t/fault/nomem.so

$(all_obj): $(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(cflags) -MMD -MP -c -o $@ $<

# Rebuild when the command line changes; written only then, so `make -n` is honest.
flags_now := $(CC) $(cflags) $(ldflags) $(libs)
ifneq ($(strip $(flags_now)),$(strip $(file <$(O)/flags)))
.PHONY: $(O)/flags
endif
# The directory first, as a target: $(file) is expanded before a recipe's first line runs.
$(O)/flags: | $(O)
	$(file >$@,$(flags_now))@:

$(O):
	@mkdir -p $@

$(lib): $(call obj,$(lib_src))
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^

define agent_rule
$(O)/bin/pp-$(1): $(call obj,$(wildcard agents/$(1)/*.c)) $(lib)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)$$(CC) $$(ldflags) -o $$@ $$^ $$(libs)
endef
$(foreach a,$(agents),$(eval $(call agent_rule,$(a))))

define alias_rule
$(O)/bin/$(1): $(O)/bin/$(2)
	$$(call say,LN,$$@)ln -sf $(2) $$@
endef
$(foreach a,$(aliases),$(eval $(call alias_rule,$(word 1,$(subst :, ,$(a))),$(word 2,$(subst :, ,$(a))))))

$(O)/bin/ppctl: $(call obj,$(ppctl_src)) $(lib)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ldflags) -o $@ $^ $(libs)

# Unit tests link every agent's planner: the plan driver walks them all.
$(unit_bin): $(O)/%: $(O)/%.o $(call obj,$(planners) $(parsers) $(compiler)) $(lib)
	$(call say,LD,$@)$(CC) $(ldflags) -o $@ $^ $(libs) $(shell pkg-config --libs check 2>/dev/null)

$(tool_bin): $(O)/%: $(O)/%.o $(lib)
	$(call say,LD,$@)$(CC) $(ldflags) -o $@ $^ $(libs)

# Stands between a program and its allocator: nothing of ours, no sanitizer.
$(O)/t/fault/nomem.so: t/fault/nomem.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -std=c11 -D_GNU_SOURCE -O2 -g $(warnings) -fPIC -shared -o $@ $< -ldl

# Every agent's planner by name, <agent>_plan, for t/unit/plan.c.
planned := $(patsubst agents/%/plan.c,%,$(filter %/plan.c,$(planners)))
$(O)/t/unit/plan.o: cflags += -I$(O)
$(O)/t/unit/plan.o: $(O)/planners.h
$(O)/planners.h: $(planners) $(O)/flags
	@{ echo '#include <intent/plan.h>'; \
	for agent in $(planned); do \
		echo "int $$(echo $$agent | tr - _)_plan(const json_t *, const json_t *, struct intent_plan *, struct intent_error *);"; done; \
	echo 'static const struct agent_planner { const char *name; intent_planner planner; } agent_planners[] = {'; \
	for agent in $(planned); do echo "	{\"$$agent\", $$(echo $$agent | tr - _)_plan},"; done; \
	echo '	{NULL, NULL}};'; } >$@

# A planner, or the compiler, sees what it is given and nothing else: no clock, no file, no environment.
impure := time|clock_gettime|gettimeofday|getenv|open|openat|fopen|read|stat|fork|getpid|rand|random
pure: $(O)/pure
$(O)/pure: $(call obj,$(planners) $(parsers) $(compiler))
	@for object in $^; do \
		if nm -u $$object | grep -wE 'U ($(impure))'; then \
			echo "$$object: a planner must be pure" >&2; exit 1; fi; done
	@mkdir -p $(@D); touch $@

dependencies:
	@contrib/dependencies

# A newcomer does not type -j; who does, keeps it.
side_by_side = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

check: dependencies
	@$(MAKE) --no-print-directory $(side_by_side) tests
	@BUILD_DIR=$(abspath $(O)) t/run

demo demo-infra: dependencies
	@$(MAKE) --no-print-directory $(side_by_side) all
	@BUILD_DIR=$(abspath $(O)) contrib/$@

bench fault fuzz: dependencies
	@$(MAKE) --no-print-directory $(side_by_side) tests
	@BUILD_DIR=$(abspath $(O)) t/$@/run

lint: dependencies
	@BUILD_DIR=$(abspath $(O)) CPPFLAGS='-std=c11 -D_GNU_SOURCE -Iinclude -DINTENT_VERSION="0" $(call pkg,--cflags)' t/lint

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7 \
		$(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions
	install -m 755 $(agent_bin) $(ppctl_bin) $(DESTDIR)$(PREFIX)/bin
	for page in libintent/*.[1-8] agents/*/*.[1-8]; do \
		install -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/; done
	for alias in $(aliases); do link=$${alias%:*} program=$${alias#*:}; \
		ln -sf $$program $(DESTDIR)$(PREFIX)/bin/$$link; \
		for page in $(DESTDIR)$(PREFIX)/share/man/man*/$$program.*; do \
			ln -sf $${page##*/} $${page%/*}/$$link.$${page##*.}; done; done
	for program in $(agent_bin) $(ppctl_bin); do name=$$(basename $$program); \
		$$program --completion=bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$name; \
		$$program --completion=zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$$name; done

clean:
	rm -rf $(BUILD)

-include $(all_obj:.o=.d)
