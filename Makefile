# Two commands do everything on a fresh Debian 12 machine, as root or with sudo: `make demo` and `make test`.

.PHONY: demo test check unit docs bench clean

demo:
	@tools/setup demo
	@.venv/bin/python -m simnet.demo

test: check
	@.venv/bin/python -m pytest --cov=sealroute --cov-report=json:.coverage.json
	@.venv/bin/python tools/coverage_floor.py .coverage.json

# Style and types only.
check:
	@tools/setup test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

# The pure core, in seconds.
unit:
	@tools/setup test
	@.venv/bin/python -m pytest tests/unit

# Reference pages that are printed from the code.
docs:
	@tools/setup demo
	@.venv/bin/python tools/print_docs.py

bench:
	@tools/setup test
	@.venv/bin/python -m benchmarks.relay

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.json src/*.egg-info
