"""Connections to hosts that others name: allowed addresses, checked connections, name resolution, Retry-After."""
