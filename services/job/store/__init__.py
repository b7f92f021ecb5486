"""PostgreSQL statements by table. Each function takes the connection of a transaction that its caller owns.

There is one store and no port for it: the rules about locks and visibility are PostgreSQL's, so a fake would lie.
"""
