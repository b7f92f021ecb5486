"""Protobuf in, domain out, and back: translation without rules, for every edge of the service."""
