"""Object storage of the embedded stack: a server of those calls of Google Cloud Storage's JSON API that are made here.

Run as a program; `cli.stack.storage` says with what. Everything but reading a public object needs a credential.
"""
