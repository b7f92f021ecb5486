"""Loops of the notifier: reading the feed, sending, housekeeping."""
