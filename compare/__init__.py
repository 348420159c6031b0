"""Sealroute's judgements beside those of other people's engines; `make compare` prints the tables."""
