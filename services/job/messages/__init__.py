"""Translates between protobuf messages and domain values, for gRPC and for facts; contains no rules."""
