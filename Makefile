# `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{gsub(/\$$\$$/, "$$", $$2); printf "  %-15s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## The whole suite in one process, one VM, then nothing left behind
	@scripts/demo

.PHONY: test
test: ## Install what is missing, start real services, run every check and every test
	@scripts/test

.PHONY: test-newer
test-newer: ## Run every test on RabbitMQ and Redis of the next Debian release
	@scripts/test-newer

.PHONY: lint
lint: ## Format, lints and the rules of the tree; warnings are errors
	@scripts/lint

.PHONY: bench
bench: ## Print the figures of the suite on real services
	@scripts/bench

.PHONY: build
build: ## Build the programs, for use, into target/release
	$(CARGO) build --locked --release --bins

.PHONY: dist
dist: ## Build the client as packages ship it, into target/dist, and check its size
	@scripts/dist

.PHONY: update
update: ## Write generated files again: messages, OpenAPI and AsyncAPI documents, settings, completions, transcripts
	VMCTL_UPDATE=1 $(CARGO) test --locked --quiet -p vmctl-core --test golden
	VMCTL_UPDATE=1 $(CARGO) test --locked --quiet -p vmctl-server --lib
	VMCTL_UPDATE=1 $(CARGO) test --locked --quiet -p vmctl-server -p vmctl-worker -p vmctl-reader -p vmctl-standalone --test process
	VMCTL_UPDATE=1 TRYCMD=overwrite $(CARGO) test --locked --quiet -p vmctl --test completions --test transcripts

.PHONY: services-up
services-up: ## Install and start RabbitMQ, Redis and Keystone on loopback
	@scripts/install-services
	@scripts/services up

.PHONY: services-env
services-env: ## Print their addresses: eval "$$(make -s services-env)"
	@scripts/services env

.PHONY: services-down
services-down: ## Stop them and remove their data
	@scripts/services down
