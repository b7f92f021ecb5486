"""The pages for people: static files and the security policy of the pages that load them."""
