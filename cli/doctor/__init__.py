"""`calotype doctor`: checks a machine, a stack, its bucket and its database, and reports a line per check."""
