"""Images that tests decode and compare."""
