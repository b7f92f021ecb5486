"""Decoding of untrusted images in child processes with limits on memory and time."""
