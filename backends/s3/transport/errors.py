"""Refusals by server, network or boto3: the possible outcome, whether a retry may help, and the error for a person.

A request was certainly not sent if no connection was made: the name was not found, nobody listened, or the TLS
handshake failed. Every other request that ends without an answer is *unclear*, also if the TLS stream breaks later.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from kbstore.backends.s3.transport.url import Options
from kbstore.kit.errors import BackendError, CorruptStore, ReadOnlyStore, StoreNotFound, StoreUnavailable

_BY_A_PROXY = frozenset(range(520, 531))
"""Statuses of a proxy (Cloudflare) that could not reach the server, or got a senseless answer from the server."""
_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504}) | _BY_A_PROXY
_FORBIDDEN, _NOT_IMPLEMENTED, _NO_ROOM = 403, 501, 507
_KEEPING = frozenset({400, _FORBIDDEN, 405})
"""How servers refuse to remove an object that is locked."""
_TRANSIENT_CODES = frozenset({"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "Throttling"})
_CHANGED = frozenset({"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
"""Codes for bytes that did not arrive as sent; a few tries show whether the cause was chance."""
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"})
_ARCHIVED = frozenset({"InvalidObjectState"})
_HANDSHAKE = "TLSHandshake"
_CERTIFICATE = "TLSCertificate"
_NOT_S3 = "NotS3"
_NO_CODE = frozenset({"404", ""})
"""Codes that botocore gives for a 404 answer without an S3 error: from a proxy, or from another service."""
_TOO_LONG = "TooLong"
_MISMATCH = "FlexibleChecksumError"
_WITHOUT_KEY = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "SSOTokenLoadError",
    }
)
_UNREACHED = frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", _HANDSHAKE})
_WRONG_ENDPOINT = frozenset(
    {"EndpointResolutionError", "EndpointProviderError", "InvalidEndpointDiscoveryConfigurationError"}
)
_NEVER_SENT = _UNREACHED | _WITHOUT_KEY | _WRONG_ENDPOINT | {_CERTIFICATE, "NoRegionError", "ParamValidationError"}
_WRONG_KEY = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidToken",
        "TokenRefreshRequired",
    }
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"})
_WRONG_TIME = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_WRONG_REGION = frozenset(
    {
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
        "TemporaryRedirect",
    }
)


class Refused(NamedTuple):
    """An answer other than success, or a missing answer.

    Attributes:
        status: HTTP status; 0 if no answer came.
        code: The server's code, or the name of the error.
        unclear: True if the request may have been carried out all the same.
        fault: The error that botocore raised.
    """

    status: int
    code: str
    unclear: bool
    fault: Exception


def refused_by(fault: Exception, handled: BaseException | None) -> Refused:
    """Return the refusal for a request that ended without an answer.

    Args:
        fault: The raised error.
        handled: The error in handling when the request was made; unrelated to the request.
    """
    code = type(fault).__name__
    for cause in _causes(fault, handled):
        if isinstance(cause, TooLong):
            return not_s3(cause, writing=True)
        if type(cause).__name__ == "SSLCertVerificationError":
            code = _CERTIFICATE
        elif _began_in(cause.__traceback__, "do_handshake"):
            code = _HANDSHAKE
        else:
            continue
        break
    return Refused(0, code, code not in _NEVER_SENT, fault)


class NotS3(Exception):
    """An answer like success, but not from S3: from a portal, a proxy's page, another service."""


class TooLong(NotS3):
    """An answer that is larger than any answer of S3; the request is not repeated."""


def not_s3(fault: NotS3, *, writing: bool) -> Refused:
    """Return the refusal for an answer that is not from S3; a write may have reached S3 all the same."""
    return Refused(200, _TOO_LONG if isinstance(fault, TooLong) else _NOT_S3, writing, fault)


def _causes(fault: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, down to the first cause within this request."""
    cause: BaseException | None = fault
    while cause is not None and cause is not handled:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _began_in(trace: TracebackType | None, function: str) -> bool:
    """Return whether an error passed through a function of this name."""
    while trace is not None:
        if trace.tb_frame.f_code.co_name == function:
            return True
        trace = trace.tb_next
    return False


def is_expired(refused: Refused) -> bool:
    """Return whether the session of the credentials has expired; nothing was carried out then."""
    return refused.code in _EXPIRED


def is_withheld(refused: Refused) -> bool:
    """Return whether an object exists but cannot be read, although the credentials are valid."""
    code = refused.code
    if code in _ARCHIVED or code.startswith("KMS."):
        return True
    return refused.status == _FORBIDDEN and code not in _WRONG_KEY and code not in _WRONG_TIME


def is_kept(refused: Refused) -> bool:
    """Whether the server keeps an object that was to be removed, for a lock, a retention or a policy."""
    about_all = refused.code in _WRONG_KEY | _WRONG_TIME | _WRONG_REGION
    return refused.status in _KEEPING and not about_all and not is_transient(refused)


def may_have_landed(status: int, code: str) -> bool:
    """Return whether a request with such an answer may have been carried out all the same."""
    return (status >= 500 and status not in (_NOT_IMPLEMENTED, _NO_ROOM) and code not in _FULL) or status == 408


def is_settled_soon(refused: Refused) -> bool:
    """Return whether a few tries show as much as many: no connection was made, or bytes arrived changed."""
    return (refused.status == 0 and not refused.unclear) or refused.code in _CHANGED | {_MISMATCH}


def is_transient(refused: Refused) -> bool:
    """Return whether the same request may succeed later."""
    if refused.status == 0 or refused.code == _NOT_S3:
        return refused.unclear or refused.code in _UNREACHED
    if refused.code in _WRONG_TIME or refused.code in _FULL:
        return False
    return refused.status in _TRANSIENT or refused.code in _TRANSIENT_CODES or refused.code in _CHANGED


def explain(options: Options, refused: Refused, what: str, *, writing: bool) -> BackendError:
    """Return the error for a refusal: one line without secrets, and a hint about the remedy."""
    place = options.place
    code = refused.code or str(refused.status)
    if code == "NoSuchBucket":
        return StoreNotFound(
            f"there is no bucket {options.bucket}", hint="look at its name, the endpoint and the account"
        )
    if code in _WITHOUT_KEY:
        return StoreUnavailable(
            f"there are no AWS credentials for {place}", hint="set AWS_PROFILE, or run aws configure or aws sso login"
        )
    if code in _WRONG_KEY:
        return StoreUnavailable(
            f"the server refused the credentials for {place} ({code})",
            hint="look at the access key, its secret, and whether a session token has expired",
        )
    if code in _WRONG_TIME:
        return StoreUnavailable(
            f"the server of {place} refused the time of this request ({code}): this machine's clock is wrong",
            hint="set the clock (NTP); S3 allows 15 minutes",
        )
    if code in _WRONG_REGION:
        return StoreUnavailable(
            f"the bucket {options.bucket} is in another region ({code})", hint="name it: ?region=..., or AWS_REGION"
        )
    if code in _WRONG_ENDPOINT:
        return StoreUnavailable(
            f"no connection to {place} can be set up: the endpoint is not of the form https://host:port",
            hint="look at endpoint and region, also in AWS_ENDPOINT_URL_S3",
        )
    about_server = _explain_by_server(place, refused.status, code, what)
    if about_server is not None:
        return about_server
    if refused.status in (401, 403):
        kind = ReadOnlyStore if writing else StoreUnavailable
        return kind(
            f"the credentials do not allow to {what} in {place} ({code})",
            hint="docs/s3.md has the policy that kbstore needs",
        )
    if code == _CERTIFICATE:
        return StoreUnavailable(
            f"the server of {place} has a certificate that is not trusted", hint="name it with ?ca="
        )
    if code in _UNREACHED:
        return StoreUnavailable(
            f"the server of {place} cannot be reached ({code})", hint="look at network and endpoint"
        )
    if code in (_NOT_S3, _TOO_LONG, "ResponseParserError") or (refused.status == 404 and refused.code in _NO_CODE):
        told = f" ({refused.fault})" if code in (_NOT_S3, _TOO_LONG) else ""
        return StoreUnavailable(
            f"the server of {place} does not speak S3: it answered something else to: {what}{told}",
            hint="look at the endpoint, and at proxies on the way to it",
        )
    if code == _MISMATCH:
        return CorruptStore(
            f"the server of {place} does not give back what was written (to {what}): its checksum is another one",
            hint="run: kbstore verify",
        )
    if refused.status == 0:
        return StoreUnavailable(
            f"{place} gave no answer to: {what} ({code})",
            hint="try again later; on a slow line allow more time: ?timeout=300&read_timeout=60",
        )
    return StoreUnavailable(
        f"{place} refused to {what} ({code}, HTTP {refused.status})", hint="try again later, or see docs/s3.md"
    )


def explain_kept(options: Options, refused: Refused, name: str) -> BackendError:
    """The error for an object that the server keeps though it was to be removed."""
    return ReadOnlyStore(
        f"the server does not let {name} in {options.place} be removed ({refused.code or refused.status}): "
        "a policy, a lock or a retention keeps it",
        hint="docs/s3.md has the policy that kbstore needs",
    )


def _explain_by_server(place: str, status: int, code: str, what: str) -> BackendError | None:
    """Return the error for a refusal about the server or the object; None for any other refusal."""
    if code in _ARCHIVED:
        return StoreUnavailable(
            f"{place} refused to {what}: the object is archived ({code})",
            hint="restore it, and keep lifecycle rules that archive objects away from the store",
        )
    if code.startswith("KMS."):
        return StoreUnavailable(
            f"{place} refused to {what}: the KMS key cannot be used ({code})",
            hint="enable the key, or allow kms:Decrypt and kms:GenerateDataKey on it",
        )
    if code in _FULL or status == _NO_ROOM:
        return StoreUnavailable(
            f"there is no room left in {place} to {what} ({code}, HTTP {status})",
            hint="free some room, or raise the quota of the bucket or of the server",
        )
    if code in _CHANGED:
        return StoreUnavailable(
            f"what was sent to {place} did not arrive as it was sent ({code}): {what}",
            hint="look at proxies on the way to the server",
        )
    if status == _NOT_IMPLEMENTED:
        return StoreUnavailable(
            f"the server of {place} does not know how to {what} ({code}, HTTP {status})",
            hint="docs/s3.md lists servers that work",
        )
    if status in _BY_A_PROXY:
        return StoreUnavailable(
            f"a proxy in front of the server of {place} could not {what} (HTTP {status})",
            hint="try again later, or look at the server behind the proxy",
        )
    return None
