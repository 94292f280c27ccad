"""PAM: one login checked with the system's modules, through the library pamela (ctypes over libpam).

Calls block for as long as the modules like; they belong into a worker thread (`pooler.auth.external`).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, Final

from pooler.wire.messages import encode

SERVICE: Final = "pgbouncer"
"""The PAM service, as in PgBouncer: its rules are in /etc/pam.d/pgbouncer."""

_LINUX: Final = sys.platform == "linux"
_SILENT: Final = 0x8000 if _LINUX else 0
_FAIL_DELAY: Final = 10
_CONVERSATION_ERROR: Final = 19


class PamRefused(Exception):
    """The login is not confirmed; the text is for the log and holds no password.

    `delay` is how many seconds the modules want the client to wait before it is told.
    """

    def __init__(self, reason: str, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.delay = delay


def load() -> None:
    """Loads the library; raises ImportError if there is no pamela, OSError or AttributeError if no libpam."""
    import pamela  # noqa: F401


def authenticate(user: str, password: str, remote_host: str) -> None:
    """Returns if PAM confirms user, password and account; raises PamRefused.

    `remote_host` is for the modules (PAM_RHOST): the client's address, "unix" on a unix socket. Every prompt
    that does not echo is answered with the password, any other with nothing.
    """
    import pamela  # here, because it loads libpam

    if not user or not password or "\0" in user + password:
        raise PamRefused("empty user name or password, or a zero byte in it")
    told: list[str] = []
    delay: list[float] = [0.0]
    # Both are called by libpam, so they have to live until pam_end.
    converse = pamela.CONV_FUNC(_conversation(pamela, encode(password), told))
    keep_delay = _DELAY_FUNCTION(_delay_keeper(delay))
    try:
        handle = pamela.pam_start(SERVICE, encode(user), converse)
    except pamela.PAMError as error:
        raise PamRefused(f"pam_start() failed: {error}") from None
    code = pamela.PAM_SUCCESS
    try:
        handle.set_item(pamela.PAM_RHOST, remote_host)
        if _LINUX:
            # Without it pam_authenticate itself would sleep, two seconds as a rule, and hold up everybody.
            pamela.PAM_SET_ITEM(handle, _FAIL_DELAY, ctypes.cast(keep_delay, ctypes.c_char_p))
        for name, step in (
            ("pam_authenticate", pamela.PAM_AUTHENTICATE),
            ("pam_acct_mgmt", pamela.PAM_ACCT_MGMT),
        ):
            code = step(handle, _SILENT)
            if code != pamela.PAM_SUCCESS:
                why = [pamela.pam_strerror(handle, code), *told]
                raise PamRefused(f"{name}() failed: {'; '.join(why)}", delay[0])
    except pamela.PAMError as error:
        raise PamRefused(f"pam_set_item() failed: {error}") from None
    finally:
        pamela.PAM_END(handle, code)


_DELAY_FUNCTION: Final = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


def _delay_keeper(delay: list[float]) -> Callable[[int, int, object], None]:
    """Keeps what libpam wants waited after a failure, in seconds, instead of waiting."""

    def keep(code: int, microseconds: int, _: object) -> None:
        if code != 0:
            delay[0] = microseconds / 1e6

    return keep


def _conversation(pamela: Any, password: bytes, told: list[str]) -> Callable[..., int]:
    """Answers the modules' prompts; their error messages go to `told`."""

    def converse(count: int, messages: Any, responses: Any, _: object) -> int:
        answers = pamela.CALLOC(max(count, 1), ctypes.sizeof(pamela.PamResponse))
        if not answers:
            return _CONVERSATION_ERROR
        responses[0] = ctypes.cast(answers, ctypes.POINTER(pamela.PamResponse))
        for number in range(count):
            message = messages[number].contents
            if message.msg_style == pamela.PAM_PROMPT_ECHO_OFF:
                # libpam frees it.
                responses[0][number].resp = pamela.STRDUP(password)
            elif message.msg_style == pamela.PAM_ERROR_MSG:
                text = ctypes.cast(message.msg, ctypes.c_char_p).value or b""
                told.append(text.decode("utf-8", "backslashreplace"))
        return int(pamela.PAM_SUCCESS)

    return converse
