"""Which service a command talks to, and with which key."""

from __future__ import annotations


def address(url: str | None, key: str | None) -> tuple[str, str | None]:
    """The service and the key: those given, else those of the environment."""
    from api.settings import ClientSettings

    settings = ClientSettings()
    return url or settings.url, key or (settings.key.get_secret_value() if settings.key else None)
