"""One request over HTTP: redirects that are allowed, answers that are, and what may be tried again.

Knows neither models nor files. Proxies are those of the environment (HTTPS_PROXY, NO_PROXY).
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

MOST_REDIRECTS = 5
LONGEST_WAIT_S = 600.0  # that a server may ask for; longer is a refusal
_REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses after which the same may work


class Interrupted(Exception):
    """It did not work this time; it may the next.

    Args:
        retry_after_s: seconds that the server asks to wait.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class WrongAnswer(Exception):
    """The server answered, and asking again would bring the same: the message says what, from where.

    Args:
        status: of the answer, where that is what is wrong; else 0.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Web:
    """Makes requests. A context manager.

    Args:
        timeout_s: seconds without a connection, or without a byte, that are too many.
        token: sent to the origin of `token_url` alone; empty sends none.
    """

    def __init__(self, timeout_s: float, token: str = "", token_url: str = "") -> None:
        try:
            self._client = httpx2.Client(
                timeout=timeout_s,
                follow_redirects=False,
                # The bytes as they are: sizes, checksums and ranges are of them.
                headers={"User-Agent": "nonesuch", "Accept-Encoding": "identity"},
            )
        except (ValueError, ImportError, httpx2.HTTPError) as error:
            raise WrongAnswer(f"the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used: {error}") from None
        self._token, self._token_origin = token, _origin(httpx2.URL(token_url)) if token_url else None

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @contextmanager
    def open(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, may_leave: bool = False
    ) -> Iterator[httpx2.Response]:
        """Yield the answer, 200, 206 or 416, whose body is not read yet.

        Args:
            may_leave: whether redirects may lead to another host, which is so when a checksum vouches for the content.

        Raises:
            Interrupted: no connection, a cut, an error that passes; also from within the block.
            WrongAnswer: any other status, or a redirect that is not allowed.
        """
        at = _parse(url)
        try:
            for _ in range(MOST_REDIRECTS + 1):
                with self._client.stream(method, at, headers=(headers or {}) | self._authorization(at)) as response:
                    if response.status_code not in _REDIRECTS:
                        _check_status(response, url)
                        yield response
                        return
                    at = _redirected(at, response, url, may_leave)
        except httpx2.HTTPError as error:
            where = f"{url}, redirected to {at.host}" if at.host != _parse(url).host else url
            raise Interrupted(f"{where}: {_words(error)}") from None
        raise WrongAnswer(f"{url} redirects more than {MOST_REDIRECTS} times")

    def _authorization(self, at: httpx2.URL) -> dict[str, str]:
        if self._token and _origin(at) == self._token_origin:
            return {"Authorization": f"Bearer {self._token}"}
        return {}


def version_of(response: httpx2.Response) -> str:
    """The server's mark of the content's version, strong enough for If-Range; empty when it gives none."""
    etag = str(response.headers.get("ETag", ""))
    if etag:
        return "" if etag.startswith("W/") else etag
    return str(response.headers.get("Last-Modified", ""))


def _parse(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise WrongAnswer(f"{url!r} is not an address ({error}); mend the setting") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise WrongAnswer(f"{url!r} is not an address: give http:// or https:// and a host; mend the setting")
    return parsed


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _redirected(at: httpx2.URL, response: httpx2.Response, url: str, may_leave: bool) -> httpx2.URL:
    location = response.headers.get("Location", "")
    try:
        to = at.join(location)
    except httpx2.InvalidURL:
        to = httpx2.URL("")
    if not location or to.scheme not in ("http", "https") or not to.host:
        raise WrongAnswer(f"{url} redirects to {location!r}, which is not an address")
    if at.scheme == "https" and to.scheme == "http":
        raise WrongAnswer(f"{url} redirects from https to {to}, where anyone on the way could change the content")
    if not may_leave and _origin(to) != _origin(at):
        raise WrongAnswer(
            f"{url} redirects elsewhere, to {to}, and nothing vouches for what is there; "
            "is this network behind a login page? If the files have moved, set the new address"
        )
    return to


def _check_status(response: httpx2.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206, 416):
        return
    said = f"{url} answers {status} {response.reason_phrase}".rstrip()
    if status in PASSING:
        raise try_later(said, response.headers.get("Retry-After", ""))
    if status in (401, 403):
        raise WrongAnswer(
            f"{said}: there is no such thing, or it is not for everyone; for a private or gated repository "
            "set NONESUCH_TRAINER_HUB_TOKEN"
        )
    if status == 407:
        raise WrongAnswer(f"{said}: the proxy wants a name and password, in HTTPS_PROXY")
    raise WrongAnswer(said, status)


def try_later(said: str, retry_after: str) -> Interrupted | WrongAnswer:
    """What an answer whose status is PASSING leads to.

    Args:
        said: what the server answered, in words.
        retry_after: its header of that name; empty when there is none.
    """
    wait = _retry_after(retry_after)
    if wait is not None and wait > LONGEST_WAIT_S:
        return WrongAnswer(f"{said} and asks to wait {wait:,.0f} s; fetch again then")
    return Interrupted(said, wait)


def _retry_after(value: str) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _words(error: Exception) -> str:
    kinds = (
        (httpx2.ConnectTimeout, "no connection in time"),
        (httpx2.ProxyError, "the proxy refused"),
        (httpx2.ConnectError, "no connection"),
        (httpx2.TimeoutException, "nothing came in time"),
        (httpx2.DecodingError, "the compressed content is damaged"),
        (httpx2.HTTPError, "the connection broke"),
    )
    words = next(words for kind, words in kinds if isinstance(error, kind))
    return f"{words} ({error})" if str(error) else words
