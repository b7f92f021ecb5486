# Works with GNU make 3.81, in folders with spaces and umlauts: every path here is relative to this file.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo up test chaos bench fresh check format lint types imports words stubs contracts locks policies advisories generate lock clean run-packages dev-packages diffusers vendor

PY := .venv/bin/python
MINUTES = 10
SEED = 1
SYSTEMS = bookworm trixie sid
COMMANDS = demo demo test
RIGHTS = container
PROTOS = $$(find proto/calotype -name '*.proto' | sort)

help: ## Show what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: run-packages ## Start everything, make one picture, save it as out/demo.png, stop everything.
	@$(PY) -P -m cli demo

up: run-packages ## Run everything in the foreground; Ctrl-C stops it.
	@$(PY) -P -m cli up

test: dev-packages ## Run all tests on real servers; ARGS="-k name" chooses some.
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: dev-packages ## Faults at bad moments, then a check of every promise; MINUTES=10 SEED=1 by default, also REPLICAS=2 FAILOVER=1 or UPGRADE=REF; see docs/guarantees.md.
	@PYTHONPATH=.:proto $(PY) -P -m tests.chaos --minutes $(MINUTES) --seed $(SEED) \
	$(if $(REPLICAS),--replicas $(REPLICAS)) $(if $(FAILOVER),--failover) $(if $(UPGRADE),--upgrade $(UPGRADE)) $(ARGS)

bench: dev-packages ## Measure speed, beside other job queues, into out/bench, about an hour; ARGS="--parts costs" chooses parts.
	@PYTHONPATH=.:proto $(PY) -P -m tests.benchmarks $(ARGS)

fresh: ## Both commands on newly installed Debian, as in a container; Linux, root, SYSTEMS=sid COMMANDS=test choose some.
	@PYTHONPATH=. ./.ci/python -m tests.fresh --systems "$(SYSTEMS)" --commands "$(COMMANDS)" --rights "$(RIGHTS)"

check: lint types imports words stubs contracts locks advisories ## Everything that CI checks, but for the tests.

format: dev-packages ## Format the code, and mend what can be mended.
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

lint: dev-packages
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m bandit -q -c pyproject.toml -r cli common gateway proto/calotype services

types: dev-packages
	$(PY) -m mypy

imports: dev-packages
	$(PY) -c "import sys; sys.path[:0] = ['.', 'proto']; from importlinter.cli import lint_imports_command as run; run()"

words: dev-packages
	@PYTHONPATH=. $(PY) -m tests.support.checks.retired_words
	@PYTHONPATH=.:proto $(PY) -m tests.support.checks.bare_reasons

stubs: dev-packages
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(MAKE) -s generate OUT="$$fresh" \
	&& for file in $$(cd "$$fresh" && find . -type f); do cmp -s "$$fresh/$$file" "proto/$$file" \
	|| { echo "proto/$$file is not what its .proto says: run make generate" >&2; exit 1; }; done \
	&& echo "stubs are fresh"

contracts: dev-packages
	.venv/bin/buf lint
	.venv/bin/buf breaking --against proto/baseline.binpb

locks:
	@if grep -nE '://|^(-i|--(extra-)?index-url|--find-links)' requirements/*.txt; then \
	echo "a lock file names a host: run make lock" >&2; exit 1; fi

policies: dev-packages ## Check the manifests with checkov, about 70 MB to download; CI does.
	@PYTHONPATH=.:proto $(PY) -m tests.support.checks.policies

advisories: dev-packages
	@PYTHONPATH=. $(PY) -m tests.support.checks.advisories

OUT := proto
generate: dev-packages ## Make the Python stubs from the contracts.
	@PATH="$$PWD/.venv/bin:$$PATH" $(PY) -m grpc_tools.protoc -I proto --python_out="$(OUT)" --grpc_python_out="$(OUT)" \
	--mypy_out=quiet:"$(OUT)" --mypy_grpc_out=quiet:"$(OUT)" $(PROTOS)

lock: ## Choose the newest allowed versions; needs uv.
	uv pip compile pyproject.toml --extra embedded --universal --python-version 3.11 --upgrade --generate-hashes \
	--no-header --no-emit-index-url -o requirements/run.txt
	uv pip compile pyproject.toml --extra azure --extra bedrock --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url -c requirements/run.txt -o requirements/services.txt
	uv pip compile pyproject.toml --extra embedded --extra azure --extra bedrock --group dev --universal \
	--python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url -c requirements/run.txt -o requirements/dev.txt
	echo torch | uv pip compile pyproject.toml --extra diffusers --group torch --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --excludes /dev/stdin -c requirements/dev.txt -o requirements/diffusers.txt

	uv pip compile --group benchmarks --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url -o requirements/benchmarks.txt
	uv pip compile --group policies --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url -o requirements/policies.txt

clean: ## Remove what was built; data folders of stacks stay.
	@[ ! -d .fresh ] || PYTHONPATH=. ./.ci/python -m tests.fresh --clean
	rm -rf .venv out dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

run-packages:
	@./.ci/python cli/bootstrap.py run

dev-packages:
	@./.ci/python cli/bootstrap.py dev

vendor: dev-packages ## Bundle the pages' code of other projects, gateway/web/static/vendor; needs npm.
	@PYTHONPATH=.:proto $(PY) -P -m tests.support.pages.vendor

diffusers: dev-packages ## Install what the tests of the kind `diffusers` need, about 240 MB; they are skipped without it.
	@./.ci/python cli/bootstrap.py diffusers
