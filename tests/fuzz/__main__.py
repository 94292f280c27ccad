"""Looks for a conversation in which the pooler breaks a promise: `python -m tests.fuzz [--seconds 60]`.

With atheris installed, a fuzzer is led by which lines of the pooler a conversation reaches, and keeps those
that got further in `--corpus`. Without, or with --random, conversations are random ones, of a seed that is
printed. A failure ends it, with the bytes to give to `--replay`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import sys
import time
from pathlib import Path

METHODS = ("plain", "md5", "scram-sha-256", "trust")


def main() -> int:
    """The exit status; the fuzzer ends the process itself."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--random", action="store_true", help="do not use atheris")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--corpus", type=Path, help="a directory of conversations, read and added to")
    parser.add_argument("--replay", type=bytes.fromhex, help="one conversation, in hexadecimal digits")
    options = parser.parse_args()
    if options.replay is not None:
        attempt_one(options.replay)
        return 0
    if options.random or importlib.util.find_spec("atheris") is None:
        return attempt_at_random(options.seconds, options.seed)
    return fuzz(options.seconds, options.seed, options.corpus)


def attempt_one(data: bytes) -> None:
    """The first byte says how the pooler asks. Raises what the pooler raises, and AssertionError."""
    from tests.fuzz.test_login import attempt

    try:
        attempt(METHODS[data[0] % len(METHODS)] if data else METHODS[0], data[1:])
    except BaseException:
        print(f"failed: --replay {data.hex()}", file=sys.stderr)
        raise


def attempt_at_random(seconds: int, seed: int) -> int:
    """Until the time is over."""
    source = random.Random(seed)
    ends = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends:
        attempt_one(source.randbytes(source.randint(8, 100)))
        count += 1
    print(f"{count} conversations at random, seed {seed}: no promise was broken")
    return 0


def fuzz(seconds: int, seed: int, corpus: Path | None) -> int:
    """Until the time is over, or something fails."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["pooler.auth", "pooler.relay", "pooler.wire"]):
        importlib.import_module("tests.fuzz.test_login")
    flags = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=200", "-artifact_prefix=/dev/null"]
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        flags.append(str(corpus))
    atheris.Setup([sys.argv[0], *flags], attempt_one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
