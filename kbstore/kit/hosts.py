"""Names and addresses of this machine: a connection to this machine needs no encryption."""

INSECURE = "KBSTORE_INSECURE_ENDPOINTS"
"""The environment variable with names of hosts, separated by commas, that are used without TLS; ``*`` means all."""


def is_local(host: str) -> bool:
    """Return whether a host's name or address is this machine: ``localhost``, 127.0.0.0/8 or ::1.

    No name is resolved, since the resolver's answer cannot be trusted.
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    import ipaddress  # only for a store or database on a server

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
