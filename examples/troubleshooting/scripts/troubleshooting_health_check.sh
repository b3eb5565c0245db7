#!/bin/sh
# Checks the troubleshooting knowledge base of the current folder: `health check`, with the same options and exit codes.
# PYTHON names the interpreter in whose environment kbstore is installed; python3 by default.
exec "${PYTHON:-python3}" "$(dirname "$0")/troubleshooting_health_check.py" "$@"
