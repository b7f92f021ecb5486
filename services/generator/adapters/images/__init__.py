"""Images from providers and callers: fetched, bounded, checked, decoded in child processes."""
