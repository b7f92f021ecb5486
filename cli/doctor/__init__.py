"""`calotype doctor`: examinations of a machine, of a stack and of its database, each a line of a report."""
