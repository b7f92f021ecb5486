"""The broker for tests: facts as workers publish them, and a recording broker."""
