"""OpenAI-compatible chat completions: one call, with patience for a server that is busy or broken."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from mllmu_tasks.addresses import check_port
from mllmu_tasks.errors import UserError, quoted
from mllmu_tasks.scorers.judge.body import ACCEPTED, Answer, UnusableBody, read
from mllmu_tasks.scorers.judge.rubric import MAX_TOKENS
from mllmu_tasks.strict_json import loads
from mllmu_tasks.text_safety import one_line

PATIENCE = 900.0  # seconds that one call may spend waiting for a server that says "too many requests"
LONGEST_REPLY = 20_000  # characters that are kept
NOT_THE_FORM = (ValueError, LookupError, TypeError, AttributeError)  # of JSON from outside


class CallFailed(Exception):
    """This call got no reply. outage: the server did not work; otherwise it refused this very question."""

    def __init__(self, reason: str, *, outage: bool) -> None:
        super().__init__(reason)
        self.outage = outage


@dataclass(frozen=True)
class Reply:
    """What the model said ("" if nothing), the name the server gives it, and the tokens it counted (0: not told)."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int


class ChatClient:
    """Asks one model at one base URL, at temperature 0. The key is sent in the header and goes nowhere else.

    key: None sends no key. timeout: seconds for one request. retries: of a call whose server fails; the waits start
    at first_wait seconds, double, and end at longest_wait. Raises UserError for a base URL or key that cannot be.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key: str | None,
        *,
        timeout: float = 60.0,
        retries: int = 6,
        first_wait: float = 1.0,
        longest_wait: float = 60.0,
    ) -> None:
        self.base_url = checked_url(base_url)
        self.model = model
        self.requests = 0
        self._key = checked_key(key)
        self._timeout, self._retries = timeout, retries
        self._first_wait, self._longest_wait = first_wait, longest_wait
        self._quiet_until = 0.0  # all calls rest when the server has told one of them to

    @property
    def sends_key(self) -> bool:
        return self._key is not None

    async def __aenter__(self) -> "ChatClient":
        headers = {"Content-Type": "application/json", "Accept-Encoding": ACCEPTED}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limits = httpx.Limits(max_connections=None)  # the caller bounds them
        try:
            self._http = httpx.AsyncClient(headers=headers, timeout=None, limits=limits, follow_redirects=False)
        except ImportError as error:  # a proxy of a kind that needs another package
            raise UserError(f"the proxy of the environment cannot be used: {error}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, messages: Sequence[dict[str, str]]) -> Reply:
        """Raises CallFailed if this call cannot be made to work, UserError if none can (key, address, credit)."""
        body = {"model": self.model, "messages": list(messages), "temperature": 0, "max_tokens": MAX_TOKENS}
        content = json.dumps(body).encode()
        waited, failures, attempt = 0.0, 0, 0
        while True:
            await asyncio.sleep(max(0.0, self._quiet_until - time.monotonic()))
            try:
                return await self._once(content)
            except _Later as later:
                reason, asked, busy = later.reason, later.wait, later.busy
            wait = min(self._longest_wait, self._first_wait * 2**attempt) * random.uniform(0.5, 1)
            wait, attempt = max(wait, asked), attempt + 1
            waited, failures = waited + wait, failures + (not busy)
            if failures > self._retries:
                raise CallFailed(f"{reason}, {failures} times", outage=True)
            if waited > PATIENCE:
                raise CallFailed(f"{reason}, and more than {PATIENCE / 60:.0f} minutes of waiting", outage=True)
            if asked:
                self._quiet_until = max(self._quiet_until, time.monotonic() + asked)
            await asyncio.sleep(wait)

    async def _once(self, content: bytes) -> Reply:
        self.requests += 1
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream("POST", f"{self.base_url}/chat/completions", content=content) as response,
            ):
                answer = await read(response)
        except TimeoutError:
            raise _Later(f"no answer within {self._timeout:g} s") from None
        except httpx.RequestError as error:
            raise _Later(self._clean(str(error)) or type(error).__name__) from None
        except UnusableBody as error:
            raise _Later(self._clean(str(error))) from None
        if answer.status == 200:
            return self._reply(answer)
        raise self._refusal(answer)

    def _reply(self, answer: Answer) -> Reply:
        try:
            body = loads(answer.body)
            text = body["choices"][0]["message"].get("content") or ""
            usage = body.get("usage") or {}
            tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
            if isinstance(text, str):
                counted = (count if isinstance(count, int) and 0 <= count < 10**9 else 0 for count in tokens)
                return Reply(text[:LONGEST_REPLY], self._clean(str(body.get("model") or "")), *counted)
        except NOT_THE_FORM:
            pass  # said below, as for a content that is no text
        words = self._error(answer)[1]
        raise _Later("the answer is no chat completion" + (f" ({words})" if words else ""))

    def _refusal(self, answer: Answer) -> Exception:
        status, code, words = answer.status, *self._error(answer)
        said = f"HTTP {status}" + (f" ({words})" if words else "")
        if status in (401, 403):  # not the server's words: some repeat the key in them
            sent = "the key that was sent" if self._key else "a call without a key"
            return UserError(
                f"{self.base_url} does not accept {sent} (HTTP {status}); put a valid key into the environment "
                "variable that --key_env names."
            )
        if status == 404:
            return UserError(
                f"{self.base_url} has no model '{self.model}' or no chat completions; check --base_url "
                f"(it ends before /chat/completions) and --model: {said}."
            )
        if status == 402 or code == "insufficient_quota":
            return UserError(f"the account at {self.base_url} has no credit left: {said}.")
        if 300 <= status < 400:
            return UserError(f"{self.base_url} sends the call elsewhere (HTTP {status}); give the final --base_url.")
        if status in (408, 409, 425, 429) or status >= 500:
            return _Later(said, wait=retry_after(answer.headers.get("Retry-After")), busy=status == 429)
        return CallFailed(said, outage=False)

    def _error(self, answer: Answer) -> tuple[str, str]:
        """(code, message) of an error in OpenAI's form; ("", "") if it has another."""
        try:
            body = loads(answer.body)
            error = body.get("error", body)
            found = (error.get("code") or error.get("type"), error.get("message"))
        except NOT_THE_FORM:
            return "", ""
        code, message = (part if isinstance(part, str) else "" for part in found)
        return code, self._clean(message)

    def _clean(self, text: str) -> str:
        """Words from outside, fit for a terminal and without the key."""
        return fit_for_a_terminal(self.without_key(text))

    def without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


class _Later(Exception):
    """The same request may work later. wait: seconds the server asked for. busy: it says it gets too many."""

    def __init__(self, reason: str, *, wait: float = 0.0, busy: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.busy = reason, wait, busy


def fit_for_a_terminal(text: str) -> str:
    """At most 300 characters on one line, without control characters."""
    return one_line(text, 300)


def retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, a number or a date; 0 if there is none or it is neither."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return 0.0
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return seconds if 0 < seconds < float("inf") else 0.0


def checked_url(text: str) -> str:
    """The base URL without a slash at its end. Raises UserError for one that is none or that may hold a secret."""
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError):  # a port of thousands of digits
        raise UserError("--base_url is no address; give one such as http://localhost:8000/v1.") from None
    if url.userinfo or url.query or url.fragment:
        raise UserError("--base_url takes no user, password, query or fragment; a key belongs into --key_env.")
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"--base_url {quoted(text)} is no address; give one such as http://localhost:8000/v1.")
    check_port(text.strip(), "--base_url")
    return str(url).rstrip("/")


def checked_key(key: str | None) -> str | None:
    """The key without white space around it; None if empty. Raises UserError if it cannot stand in a header."""
    key = (key or "").strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise UserError("the key holds characters that no key has (a blank, a line break, a letter beyond ASCII).")
    return key or None
