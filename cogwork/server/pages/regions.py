"""The parts of a page that change while somebody looks at it."""

from __future__ import annotations

from markupsafe import Markup

from cogwork.server.pages.view import digest


class Region:
    """A part of a page: what it is called, its content, and by what it is known to be the same as before.

    ``key`` is for a part in which somebody may be typing: it is replaced only where that has changed.
    """

    def __init__(self, name: str, html: str, key: str | None = None) -> None:
        self.name, self.html, self.digest = name, html, digest(html if key is None else key)

    def __html__(self) -> Markup:
        """The part as it stands on the page; its content is a rendered template."""
        return Markup('<div class="region" id="live-{}" data-live="{}">{}</div>').format(
            self.name, self.digest, Markup(self.html)
        )

    def to_dict(self) -> dict[str, str]:
        """The part as scripts are sent it."""
        return {"name": self.name, "html": self.html, "digest": self.digest}
