"""Protobuf in, domain out, and back: translation without rules."""
