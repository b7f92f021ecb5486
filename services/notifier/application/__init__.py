"""Use cases of the notifier: load, decide, commit."""
