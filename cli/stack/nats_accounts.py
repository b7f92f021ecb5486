"""Renders the accounts and users of a NATS server's configuration from the table in `calotype.broker_users`."""

import json
from collections.abc import Iterable, Mapping, Sequence

from calotype.broker_users import STREAMS_ACCOUNT, SYSTEM_ACCOUNT, User, has_streamed_response

USER = """      {{
        user: {name}
        password: {password}
        permissions: {{
          publish: {{allow: {publish}}}
          subscribe: {{allow: {subscribe}}}
        }}
      }}"""


def accounts(users: Sequence[User], passwords: Mapping[str, str]) -> str:
    """The block `accounts`; `passwords` by user, already quoted for the configuration."""
    blocks = [_account(name, users, passwords) for name in dict.fromkeys(user.account for user in users)]
    return "\n".join(["accounts {", *blocks, "}"])


def _account(name: str, users: Sequence[User], passwords: Mapping[str, str]) -> str:
    members = [user for user in users if user.account == name]
    lines = [f"  {name} {{", "    users: [", *(_user(user, passwords[user.name]) for user in members), "    ]"]
    if name == STREAMS_ACCOUNT:
        lines += ["    jetstream: enabled", "    exports: [", *_exports(users), "    ]"]
    elif name != SYSTEM_ACCOUNT:
        lines += ["    imports: [", *_imports(members), "    ]"]
    return "\n".join([*lines, "  }"])


def _exports(users: Iterable[User]) -> Iterable[str]:
    """Lines with the subjects that users of other accounts may publish to, each only for its account."""
    for user in users:
        if user.account in (STREAMS_ACCOUNT, SYSTEM_ACCOUNT):
            continue
        for subject in user.publish:
            response = "response: stream, " if has_streamed_response(subject) else ""
            yield f"      {{service: {json.dumps(subject)}, {response}accounts: [{user.account}]}}"


def _imports(members: Iterable[User]) -> Iterable[str]:
    for user in members:
        for subject in user.publish:
            yield f"      {{service: {{account: {STREAMS_ACCOUNT}, subject: {json.dumps(subject)}}}}}"


def _user(user: User, password: str) -> str:
    return USER.format(
        name=user.name, password=password, publish=_listed(user.publish), subscribe=_listed(user.subscribe)
    )


def _listed(subjects: Sequence[str]) -> str:
    return json.dumps(subjects, indent=2).replace("\n", "\n          ")
