# Every target is one command; the scripts in script/ do the work and run by themselves too.

ROWS ?=
SEED ?= 1
MINUTES ?= 60

.DEFAULT_GOAL := help
.PHONY: setup demo test compat chaos soak fuzz sanitize lint bench bench-peers bench-micro bench-gate bench-spike wheel clean help

setup: ## Make Ruby, Redis and the virtual environment under .dev/
	@script/setup

demo: setup ## Show gokiq at work on 20,000 jobs, with a verdict by jid
	@.dev/venv/bin/python -m examples.demo

test: ## Run the static checks and the tests of both languages
	@script/setup --browser
	@script/test

compat: ## Check Sidekiq's 105 rules, for 8.1 and 7.3; a table, and tmp/compat.json
	@script/setup --browser
	@script/compat

# One scenario: make chaos ONLY=restart_redis; other random choices: make chaos SEED=7
chaos: setup ## Break processes, Redis and the network under load, and check that nothing is lost
	@.dev/venv/bin/python -m tests.chaos --seed $(SEED) $(if $(ONLY),--only $(ONLY))

# Shorter: make soak MINUTES=5 SEED=7
soak: setup ## Break something at random every 20 s for an hour; nothing is lost, memory stays flat
	@.dev/venv/bin/python -m tests.chaos.soak --minutes $(MINUTES) --seed $(SEED)

fuzz: setup ## Try a million hostile inputs on frames, payloads and Redis commands, in five minutes
	@script/fuzz

sanitize: setup ## Run the unit tests with the extensions built with AddressSanitizer and UBSan
	@script/sanitize

lint: setup ## Run the static checks alone
	@script/lint

# Some rows only: make bench ROWS="noop sleep"
bench: ## Measure every row of the table against Sidekiq on this machine, in 20 minutes; tmp/bench/report.html
	@script/setup --postgres
	@.dev/venv/bin/python -m bench.suite $(ROWS)

bench-peers: setup ## Measure BullMQ and SAQ too (installed into .dev/peers), for the report of make bench
	@script/peers
	@.dev/venv/bin/python -m bench.peers

# More precise: make bench-micro OPTIONS=--rigorous
bench-micro: setup ## Time the compiled functions beside their twins in Python, json and hiredis
	@.dev/venv/bin/python -m bench.micro $(OPTIONS)

# Only the compiled functions, in seconds: make bench-gate OPTIONS=--no-sidekiq
bench-gate: ## Fail when gokiq is slower than bench/gate.json by more than 15 %
	@script/setup --valgrind
	@.dev/venv/bin/python -m bench.gate $(OPTIONS)

# Shorter: make bench-spike OPTIONS='--jobs 4000 --patience 30'
bench-spike: setup ## Empty a backlog into a PostgreSQL that a web application uses too, in 10 minutes
	@.dev/venv/bin/python -m bench.spike $(OPTIONS)

wheel: setup ## Build the source archive and the wheel into dist/
	@.dev/venv/bin/python -m build

clean: ## Remove everything that was made, .dev/ included
	@rm -rf .dev tmp build dist wheelhouse *.egg-info gokiq/*.so gokiq/*.c
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16
