"""The tables of the notifier: statements, and the functions that run them within a transaction of the caller."""
