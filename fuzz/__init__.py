"""Fuzzing of every parser that eats a peer's octets: the targets with their invariants, and the runner of `make fuzz`."""
