"""Sealroute: an outbound mail gateway that proves that it talks to the right server."""

__version__ = "0.1.0"
