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

# Beside Postfix with postfix-mta-sts-resolver; as root or with sudo.
bench:
	@tools/setup test
	@.venv/bin/python -m pip install -q --disable-pip-version-check -e '.[compare]'
	@.venv/bin/python -m benchmarks

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.json src/*.egg-info

# Our verdicts beside OpenSSL's, Postfix's, delv's, drill's and postfix-mta-sts-resolver's (docs/explain/compared-with-others.md).
.PHONY: compare fuzz mutation
compare:
	@tools/setup test
	@.venv/bin/python -m pip install -q --disable-pip-version-check -e '.[compare]'
	@.venv/bin/python -m compare

# Coverage-guided fuzzing of every parser that eats a peer's octets; SECONDS for each.
fuzz:
	@tools/setup test
	@.venv/bin/python -m pip install -q --disable-pip-version-check -e '.[fuzz]'
	@.venv/bin/python -m fuzz --seconds $(or $(SECONDS),10)

# Do the unit tests notice when the pure core is wrong?  Fails for a mutant that survives and is not explained
# (docs/explain/mutation.md).
mutation:
	@tools/setup test
	@.venv/bin/python tools/mutate.py
