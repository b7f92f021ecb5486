"""Proxies that cut, reset, stall or fail connections."""
