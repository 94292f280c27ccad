"""A real PAM service `pgbouncer` for tests: the system's libpam and modules, with rules of the test's own.

libpam reads its rules from /etc/pam.d, which belongs to the machine. A copy of libpam, in which that path is
another one of the same length, is what programs find first through LD_LIBRARY_PATH.
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cli.demo.throwaway import ThrowawayDirectory, server_account

_RULES_PATH: Final = b"/etc/pam.d"
_LIBRARIES: Final = (
    "/lib/*/libpam.so.0",
    "/lib64/libpam.so.0",
    "/usr/lib/*/libpam.so.0",
    "/usr/lib*/libpam.so.0",
)

# pam_exec runs it with the password on standard input and PAM_... in its environment, and tells of a failure.
_SCRIPT = """#!/bin/sh
password=$(tr -d '\\0')
printf '%s|%s|%s|%s|%s\\n' "$PAM_TYPE" "$PAM_SERVICE" "$PAM_USER" "$PAM_RHOST" "$password" >>{directory}/calls
while [ -e {directory}/held ]; do sleep 0.02; done
case $PAM_TYPE in
auth) grep -q -x -F -e "$PAM_USER:$password" {directory}/users ;;
account) ! grep -q -x -F -e "$PAM_USER" {directory}/expired ;;
esac
"""


_LOGINS = """
import asyncio, json, sys
import uvloop
from pooler.auth.external import ExternalAuth, require_pam

async def main(logins):
    require_pam()
    loop = asyncio.get_running_loop()
    delays, answers = [], []
    def call_later(delay, callback, *arguments):
        delays.append(delay)
        loop.call_soon(callback, *arguments)
    auth = ExternalAuth(loop.call_soon_threadsafe, call_later)
    for user, password, host in logins:
        answer = loop.create_future()
        auth.check_pam(user, password, host, lambda *result: answer.set_result(result))
        answers.append(await answer)
    auth.close()
    return answers, delays

print(json.dumps(uvloop.run(main(json.loads(sys.argv[1])))))
"""


class PamService:
    """The service `pgbouncer`, whose `users` (name to password) may log in, but for those who are `expired`.

    `auth_rules` are lines of the rules file before our own. `environment` is what a program needs to be
    subject to it; `calls` is what modules were told. Raises FileNotFoundError when there is no libpam.
    """

    def __init__(
        self, users: Mapping[str, str], *, expired: Sequence[str] = (), auth_rules: Sequence[str] = ()
    ) -> None:
        self._users = users
        self._expired = expired
        self._auth_rules = auth_rules
        self._throwaway: ThrowawayDirectory | None = None
        self._link = Path("/tmp", secrets.token_hex(5)[:5])

    @property
    def directory(self) -> Path:
        if self._throwaway is None:
            raise RuntimeError("the PAM service was not started")
        return self._throwaway.path

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(self.directory / "lib")}

    def calls(self) -> list[tuple[str, ...]]:
        """Type, service, user, remote host and password of each call so far, in order."""
        return [tuple(line.split("|")) for line in (self.directory / "calls").read_text().splitlines()]

    def hold(self) -> None:
        """Modules do not answer any more ..."""
        (self.directory / "held").touch()

    def release(self) -> None:
        """... until now."""
        (self.directory / "held").unlink()

    def logins(self, logins: Sequence[tuple[str, str, str]]) -> tuple[list[tuple[bool, str]], list[float]]:
        """Has ExternalAuth check each (user, password, remote host), in a process that is subject to us.

        What came of them, and the delays that it asked the loop for.
        """
        done = subprocess.run(
            [sys.executable, "-c", _LOGINS, json.dumps(logins)],
            env={**os.environ, **self.environment},
            check=True,
            timeout=50,
            stdout=subprocess.PIPE,
        )
        answers, delays = json.loads(done.stdout)
        return [(confirmed, reason) for confirmed, reason in answers], delays

    def start(self) -> None:
        try:
            self._throwaway = ThrowawayDirectory("pooldeck-pam-", server_account())
            self._fill()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._link.unlink(missing_ok=True)
        if self._throwaway is not None:
            self._throwaway.close()
            self._throwaway = None

    def _fill(self) -> None:
        directory = self.directory
        (directory / "pam.d").mkdir()
        (directory / "lib").mkdir()
        self._link.symlink_to(directory / "pam.d")
        (directory / "users").write_text(
            "".join(f"{user}:{secret}\n" for user, secret in self._users.items())
        )
        (directory / "expired").write_text("".join(f"{user}\n" for user in self._expired))
        (directory / "calls").touch()
        (directory / "calls").chmod(0o666)
        script = directory / "check"
        script.write_text(_SCRIPT.format(directory=directory))
        script.chmod(0o755)
        rules = [
            *self._auth_rules,
            f"auth required pam_exec.so expose_authtok {script}",
            f"account required pam_exec.so {script}",
        ]
        (directory / "pam.d" / "pgbouncer").write_text("".join(f"{rule}\n" for rule in rules))
        library = find_libpam().read_bytes()
        assert library.count(_RULES_PATH) > 0
        replaced = library.replace(_RULES_PATH, os.fsencode(self._link))
        (directory / "lib" / "libpam.so.0").write_bytes(replaced)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_libpam() -> Path:
    """The system's libpam; raises FileNotFoundError."""
    for pattern in _LIBRARIES:
        for path in glob.glob(pattern):
            return Path(path)
    raise FileNotFoundError("no libpam")
