"""How fast the gateway is, beside a Postfix that does the same work: `python -m benchmarks` (README.md)."""
