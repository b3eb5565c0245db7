"""Which hosts are this machine: what is sent to them needs no encryption on the way."""

INSECURE = "KBSTORE_INSECURE_ENDPOINTS"
"""The environment variable that names hosts, with commas in between, to speak to without TLS; ``*`` is all."""


def is_local(host: str) -> bool:
    """Return whether a host's name or address is this machine's own: ``localhost``, 127.0.0.0/8 or ::1.

    No name is looked up, since whoever answers could say anything.
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    import ipaddress  # only for a store or database on a server

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
