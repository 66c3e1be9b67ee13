"""Addresses of servers that users name."""

from urllib.parse import urlsplit

from mllmu_tasks.errors import UserError, quoted


def check_port(address: str, what: str) -> None:
    """Raise UserError, which calls the address `what`, if it names a port that no server has."""
    try:
        port = urlsplit(address).port
    except ValueError:
        port = 0
    if port == 0:
        raise UserError(f"{what} {quoted(address)} has no port that can be; ports are numbers from 1 to 65535.")
