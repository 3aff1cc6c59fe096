"""What a developer looks at in a browser: GraphiQL with the journey in its tabs, the mailbox, and where links in e-mails land.

Served in development only. Nothing here is fetched from anywhere else.
"""

from graph.ide.site import HEADERS, page, routes

__all__ = ["HEADERS", "page", "routes"]
