"""The notifier for tests: its use cases on a real database, and its process with a receiver."""
