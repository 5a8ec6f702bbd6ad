"""`logql serve`: BI tools query the history live, over MySQL's protocol (the extra `serve`).

Each client has a session of its own. It can read and nothing else; replaying is off unless it is allowed with a budget.
"""

from logql.serve.server import Limits, Server, serve

__all__ = ["Limits", "Server", "serve"]
