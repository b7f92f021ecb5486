"""PostgreSQL statements by table. Each function runs in the transaction of the connection that it is given.

There is no port for the store: its rules about locks and visibility are PostgreSQL's, which a fake could not imitate.
"""
