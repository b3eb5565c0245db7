"""Answer questions about health over HTTP."""
