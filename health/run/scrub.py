"""Removes secrets from everything shown, stored or sent: the last gate before a message, detail, metric or log.

Two nets, since each has holes. Known secrets (from the configuration and the environment) are removed everywhere, also
percent-encoded. Text that looks like a secret is removed by its form.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from kbstore.health.model import Result
from kbstore.health.settings import Settings

HIDDEN = "***"

_MIN_CHARS = 4
"""Shorter secrets would cut ordinary words; in URLs, shorter secrets are removed by their form."""
_MIN_CHARS_OF_ENVIRONMENT = 8
"""The same for variables with a name like a secret: the value of ``USE_TOKEN=true`` is not a secret."""

# Every repetition is bounded, so that even for a hostile text the time grows only with its length.
_SECRET_NAME = (
    r"(?:[\w.-]{0,40}(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|credential|signature)[\w.-]{0,40})"
)
_FORMS = (
    # scheme://user:password@host: all up to the last @ before the next blank, since a password may hold one too.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)([^\s/?#:@]{0,200}):([^\s]{0,1000})@"), rf"\1\2:{HIDDEN}@"),
    (re.compile(rf"(?i)([?&;]{_SECRET_NAME}=)[^&\s;#'\"]+"), rf"\1{HIDDEN}"),
    (
        re.compile(rf"(?i)\b({_SECRET_NAME}['\"]?\s{{0,3}}[=:]\s{{0,3}})(?:'[^']*'|\"[^\"]*\"|[^\s,;}}&)]+)"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b((?:bearer|basic)\s{1,3})[\w.~+/=-]{4,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{12,}\b"), HIDDEN),
    # A secret key of AWS is 40 characters of base64; a path of that length begins with a slash.
    (
        re.compile(
            r"(?<![A-Za-z0-9/+])(?=[^A-Z]{0,39}[A-Z])(?=[^a-z]{0,39}[a-z])(?=[^0-9]{0,39}[0-9])"
            r"[A-Za-z0-9+][A-Za-z0-9/+]{39}(?![A-Za-z0-9/+=])"
        ),
        HIDDEN,
    ),
)

_ENVIRONMENT = re.compile(r"(?i)(password|passwd|secret|token|access_key)")


class Scrubber:
    """Removes known secrets, and text that looks like a secret, from values.

    Args:
        secrets: Texts to hide.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), unquote(secret))}
        known = sorted((form for form in forms if len(form) >= _MIN_CHARS), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, shown in _FORMS:
            text = pattern.sub(shown, text)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value without secrets, also in member names; hide members named like a secret completely."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): HIDDEN if _is_secret(str(key)) and item else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def result(self, result: Result) -> Result:
        """Return the result without secrets; `remember` stays as it is, since nobody sees the remembered values."""
        return replace(
            result,
            message=self.text(result.message),
            details=self.value(dict(result.details)),
            metrics={self.text(name): number for name, number in result.metrics.items()},
            hint=None if result.hint is None else self.text(result.hint),
        )


def secrets_of(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return every secret in the configuration and the environment."""
    found = [settings.serve.token, *(sink.secret for sink in settings.sinks)]
    urls = [settings.targets.store, settings.targets.database, settings.watch.heartbeat_url]
    for url in [*urls, *(sink.url for sink in settings.sinks)]:
        if url and "://" in url:
            try:
                found.append(urlsplit(url).password or "")
            except ValueError:
                continue
    least = _MIN_CHARS_OF_ENVIRONMENT
    found += [text for name, text in environ.items() if _ENVIRONMENT.search(name) and len(text) >= least]
    return [secret for secret in found if secret]


def _is_secret(name: str) -> bool:
    return re.fullmatch(_SECRET_NAME, name, re.IGNORECASE) is not None
