"""URLs of databases, as SQLAlchemy takes them; a URL may name several servers that hold one database."""

import re

from sqlalchemy.engine import make_url

#: A URL with several hosts, and each of them; IPv6 addresses are in brackets.
_SEVERAL_HOSTS = re.compile(
    r"(?P<start>[^:/?]+://(?:[^/?]*@)?)(?P<hosts>[^/?@]*,[^/?@]*)(?P<name>/[^?]*)?(?:\?(?P<options>.*))?"
)
_HOST = re.compile(r"(?P<name>\[[^\]]+\]|[^:]+)(?::(?P<port>\d*))?")
DEFAULT_PORT = "5432"


def driver_url(url: str) -> str:
    """Returns the URL with its driver: SQLAlchemy would choose another driver for a bare `postgresql://`.

    Several servers are named as PostgreSQL's own clients take them: `HOST:PORT,HOST:PORT`. Each new connection is then
    to the server that takes writes, unless the URL has another `target_session_attrs`. Raises SQLAlchemy's
    `ArgumentError`, and `ValueError` for a port that is no number.
    """
    parsed = make_url(_with_hosts_as_options(url)).set(drivername="postgresql+psycopg2")
    if "," in str(parsed.query.get("host", "")) and "target_session_attrs" not in parsed.query:
        parsed = parsed.update_query_dict({"target_session_attrs": "read-write"})
    return parsed.render_as_string(hide_password=False)


def _with_hosts_as_options(url: str) -> str:
    """Returns the URL with its hosts as options where it names several: SQLAlchemy reads one in their place."""
    parts = _SEVERAL_HOSTS.fullmatch(url)
    if parts is None:
        return url
    hosts, ports = [], []
    for named in parts["hosts"].split(","):
        host = _HOST.fullmatch(named)
        if host is None:
            # SQLAlchemy refuses it.
            return url
        hosts.append(host["name"].strip("[]"))
        ports.append(host["port"] or DEFAULT_PORT)
    options = [*filter(None, [parts["options"]]), f"host={','.join(hosts)}", f"port={','.join(ports)}"]
    return f"{parts['start']}{parts['name'] or '/'}?{'&'.join(options)}"
