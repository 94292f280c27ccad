"""`python -m tests.pg_regress`: each suite directly, then through a pooler in session mode, compared."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.demo.pg_programs import PostgresMissing, find_bin_directory
from cli.demo.postgres import PostgresFailed, TemporaryPostgres
from tests.bench.targets import pgbouncer_version, pooldeck_name
from tests.pg_regress.compare import differences
from tests.pg_regress.passes import PASSES, Pass
from tests.pg_regress.sources import Installation, SourcesMissing, obtain
from tests.pg_regress.suites import ISOLATION, REGRESS, SETTINGS, Run, Stage, Suite, SuiteFailed
from tests.support.bouncer import BouncerFailed, BouncerProcess, PoolerProcess, RealPgBouncer

_SUITES = {suite.name: suite for suite in (REGRESS, ISOLATION)}

# isolationtester asks the server who blocks whom, by the process ids that its connections were given at
# login. A pooler gives clients ids of its own, so it never learns that a step waits.
_WAITS = "<waiting ...>"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something differs that is not known to, 2 when the suite cannot be run."""
    options = _parser().parse_args(arguments)
    try:
        installation = Installation.at(find_bin_directory())
        with tempfile.TemporaryDirectory(prefix="pooldeck-sources-") as scratch:
            sources = obtain(installation, options.source, Path(scratch))
            modules = installation.directory("pkglibdir")
            libraries = [sources.library, modules / "refint.so", modules / "autoinc.so"]
            with Stage(installation, sources.tests, libraries) as stage:
                comparison = _Comparison(options, installation, stage)
                print(f"PostgreSQL {installation.version}; {comparison.pooler_name}", flush=True)
                return comparison.run(_chosen(options))
    except (PostgresMissing, PostgresFailed, BouncerFailed, SourcesMissing, SuiteFailed) as error:
        print(error, file=sys.stderr)
        return 2


class _Comparison:
    def __init__(self, options: argparse.Namespace, installation: Installation, stage: Stage) -> None:
        self._options = options
        self._installation = installation
        self._stage = stage
        self.pooler_name = _pooler_name(options)

    def run(self, suites: Sequence[Suite]) -> int:
        """All of them, whatever comes of each; the exit code."""
        wrong = [suite.name for suite in suites if not self._holds(suite)]
        return 1 if wrong else 0

    def _holds(self, suite: Suite) -> bool:
        """Whether all passes through the pooler gave the results of the direct run; prints how it went."""
        tests: list[str] = self._options.tests
        direct = self._directly(suite, tests)
        outputs = direct.outputs
        if suite is ISOLATION:
            outputs = {test: output for test, output in outputs.items() if _WAITS not in output}
            tests = list(outputs)
            print(f"{suite.name}: {len(direct.outputs) - len(outputs)} with steps that wait are left out")
        if not outputs:
            return True
        wrong = [one.name for one in self._passes() if not self._same(suite, one, tests, outputs)]
        return not wrong

    def _passes(self) -> list[Pass]:
        chosen = self._options.only_pass
        return [PASSES[chosen]] if chosen else list(PASSES.values())

    def _directly(self, suite: Suite, tests: Sequence[str]) -> Run:
        with self._postgres() as postgres:
            run = self._stage.run(suite, "127.0.0.1", postgres.port, tests=tests)
        self._keep(f"{suite.name}-directly")
        verdict = "all as PostgreSQL expects" if run.as_expected else "not all as PostgreSQL expects"
        print(
            f"{suite.name}, directly: {len(run.outputs)} tests in {run.seconds:.0f} s, {verdict}", flush=True
        )
        return run

    def _same(self, suite: Suite, one: Pass, tests: Sequence[str], direct: Mapping[str, str]) -> bool:
        with self._postgres(one.server) as postgres, self._pooler(postgres.port, one) as pooler:
            run = self._stage.run(suite, pooler.host, pooler.port, tests=tests)
            log = pooler.log_text()
        self._keep(f"{suite.name}-{one.name}", log)
        found = differences(direct, run.outputs)
        known = [test for test in found if test in one.known]
        unknown = [found[test] for test in found if test not in one.known]
        print(
            f"{suite.name}, {one.name}: {len(direct) - len(found)} of {len(direct)} the same in "
            f"{run.seconds:.0f} s, {len(known)} differ as they must, {len(unknown)} otherwise",
            flush=True,
        )
        for test in known:
            print(f"  {test}: {one.known[test]}")
        sys.stdout.writelines(unknown)
        if "Traceback (most recent call last)" in log:
            print(f"the pooler logged a traceback:\n{log}")
            return False
        return not unknown

    def _postgres(self, settings: Mapping[str, str] | None = None) -> TemporaryPostgres:
        return TemporaryPostgres(
            settings={**SETTINGS, **(settings or {})}, bin_directory=self._installation.bin
        )

    def _pooler(self, port: int, one: Pass) -> BouncerProcess:
        databases = {"*": f"host=127.0.0.1 port={port}"}
        if self._options.pooler == "pgbouncer":
            return RealPgBouncer(databases, settings=one.pooler)
        return PoolerProcess(databases, python=self._options.python, settings=one.pooler)

    def _keep(self, name: str, log: str = "") -> None:
        if self._options.output is None:
            return
        target = self._options.output / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self._stage.output, target)
        (target / "pooler.log").write_text(log)


def _chosen(options: argparse.Namespace) -> list[Suite]:
    if options.suite:
        return [_SUITES[options.suite]]
    return [REGRESS] if options.tests else list(_SUITES.values())


def _pooler_name(options: argparse.Namespace) -> str:
    if options.pooler == "pooldeck":
        return pooldeck_name(options.python)
    version = pgbouncer_version()
    if version is None:
        raise SuiteFailed("no PgBouncer: neither $PGBOUNCER nor on PATH")
    return version


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.pg_regress", description=__doc__)
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="a source tree of the installed PostgreSQL's version; default: its source package, by apt",
    )
    parser.add_argument("--pooler", choices=("pooldeck", "pgbouncer"), default="pooldeck")
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH", help="the interpreter that runs pooldeck"
    )
    parser.add_argument("--suite", choices=sorted(_SUITES), help="only this one")
    parser.add_argument("--pass", dest="only_pass", choices=sorted(PASSES), help="only this one")
    parser.add_argument("--output", type=Path, metavar="DIR", help="keep what the tests printed there")
    parser.add_argument(
        "tests", nargs="*", metavar="TEST", help="run these, one by one, and not the schedule: test_setup ..."
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
