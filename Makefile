# `make demo` and `make test` are all the set-up there is: each builds its own virtual environment first.

PYTHON ?= python3
VENV := .venv
COMPILED := .venv-compiled
PIP_INSTALL := install --quiet --disable-pip-version-check
PYTEST_FLAGS := -n auto --dist loadgroup

# Extra arguments, e.g. `make test ARGS='-k copy'` or `make bench ARGS=--quick`.
ARGS ?=

.PHONY: demo test explore lint bench bench-console chaos fuzz regress screenshots compiled clean

demo: $(VENV)/.installed
	$(VENV)/bin/pooldeck demo $(ARGS)

test: $(VENV)/.installed
	$(VENV)/bin/pytest $(PYTEST_FLAGS) $(ARGS)

# The property tests with new and many more examples each; `make test` takes the same ones every time.
explore: $(VENV)/.installed
	HYPOTHESIS_PROFILE=explore $(VENV)/bin/pytest $(PYTEST_FLAGS) -m hypothesis tests/unit tests/fuzz $(ARGS)

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy pooler tui cli tests
	$(VENV)/bin/lint-imports

# A compiled build, when there is one, is measured as a further column.
bench: $(VENV)/.installed
	$(VENV)/bin/python -m tests.bench --python $(VENV)/bin/python \
		$(if $(wildcard $(COMPILED)/bin/pooldeck),--python $(COMPILED)/bin/python) $(ARGS)

# The console with up to 40,000 clients on the screen, and what it costs the pooler.
bench-console: $(VENV)/.installed
	$(VENV)/bin/python -m tests.bench_console $(ARGS)

# The token test at length, e.g. `make chaos ARGS='--seconds 600 --clients 200'`; a seed replays a run.
chaos: $(VENV)/.installed
	$(VENV)/bin/python -m tests.chaos $(ARGS)

# Logins of every shape, e.g. `make fuzz ARGS='--seconds 600'`; led by coverage where atheris can be installed.
fuzz: $(VENV)/.installed
	-$(VENV)/bin/pip $(PIP_INSTALL) -e '.[fuzz]'
	$(VENV)/bin/python -m tests.fuzz $(ARGS)

# PostgreSQL's own regression suite through session mode; apt brings its scripts, or ARGS='--source DIR'.
regress: $(VENV)/.installed
	$(VENV)/bin/python -m tests.pg_regress $(ARGS)

# The pictures of README.md, from a run of the demo; some of them with ARGS='overview clients'.
screenshots: $(VENV)/.installed
	$(VENV)/bin/pip $(PIP_INSTALL) -e '.[screenshots]'
	$(VENV)/bin/python -m tests.screenshots.make $(ARGS)

# Not editable, and without the checkout on sys.path: what the tests import is what was compiled, and one of them
# (tests/unit/test_build.py) makes sure of it.
compiled:
	rm -rf build
	test -d $(COMPILED) || $(PYTHON) -m venv $(COMPILED)
	POOLDECK_COMPILE=1 $(COMPILED)/bin/pip $(PIP_INSTALL) '.[test,demo]'
	POOLDECK_COMPILED=1 $(COMPILED)/bin/pytest $(PYTEST_FLAGS) $(ARGS)

clean:
	rm -rf $(VENV) $(COMPILED) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find pooler tui cli tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip $(PIP_INSTALL) -e '.[test,dev,demo]'
	touch $@
