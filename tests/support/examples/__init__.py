"""What the tests of `examples/` run them with."""
