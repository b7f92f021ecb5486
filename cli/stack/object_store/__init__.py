"""Object storage of the embedded stack: the calls of Google Cloud Storage's JSON API that the services make.

Run as a program, by `cli.stack.storage`. Every call needs a credential, except reading a public object.
"""
