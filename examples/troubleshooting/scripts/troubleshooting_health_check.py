#!/usr/bin/env python3
"""Checks the troubleshooting knowledge base of the current folder, its store and its database.

As a program it is `health check`, with the same options; it ends with 0 where all is healthy, 1 degraded, 2 unhealthy,
3 where it could not be found out. As a module it gives the class that the guide uses:

    from scripts.troubleshooting_health_check import TroubleshootingHealthCheck
"""

import sys

from kbstore.health import TroubleshootingHealthCheck

__all__ = ["TroubleshootingHealthCheck"]


if __name__ == "__main__":
    from kbstore.health.cli.main import run

    sys.exit(run(["check", *sys.argv[1:]]))
