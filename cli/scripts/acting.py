"""What the sub-commands of `verbs` do: ask, act, say what came of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import typer

from cli.scripts import session
from tui.admin.connection import CONNECT_SECONDS, AdminConnection, connect
from tui.admin.errors import TargetError
from tui.admin.target import Target, parse_target
from tui.operate.actions import Action
from tui.operate.availability import Standing, why_not
from tui.operate.jobs import Job, JobView, State
from tui.operate.journal import Journal, journal_path
from tui.operate.operator import Operator
from tui.operate.outcome import Outcome, Result
from tui.operate.plan import Plan, carry_out, make_plan
from tui.operate.subject import Subject


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants done."""

    action: Action
    subject: Subject
    arguments: Mapping[str, str]
    target: str | None
    yes: bool
    timeout: float | None


def run_action(request: Request) -> int:
    """Do it; the exit status, as that of `exec`."""
    try:
        target = parse_target(request.target)
    except TargetError as error:
        return session.failed(str(error), session.USAGE)

    async def act(connection: AdminConnection) -> int:
        return await _act(connection, request, target)

    return session.run(request.target, act)


async def _act(connection: AdminConnection, request: Request, target: Target) -> int:
    action, variant = request.action, request.arguments.get("variant", "")
    standing = Standing(connection.capabilities, several_hosts="," in target.host)
    reason = why_not(action, request.subject, standing, variant)
    if reason is not None:
        return session.failed(f"{action.verb}: {reason}", session.REFUSED)
    pooler = f"{target.host}:{target.port}"
    try:
        plan = await make_plan(connection, action, request.subject, pooler, request.arguments)
    except ValueError as error:
        return session.failed(str(error), session.USAGE)
    if plan.problem:
        return session.failed(plan.problem, session.REFUSED)
    if plan.typed and not request.yes and (status := _ask(plan)) is not None:
        return status
    operator = Operator(pooler, target.user, Journal(journal_path()))
    try:
        return await _do(connection, plan, operator, request, target)
    finally:
        if operator.journal.failure is not None:
            session.failed(f"not in the journal: {operator.journal.failure}", 0)


async def _do(
    connection: AdminConnection, plan: Plan, operator: Operator, request: Request, target: Target
) -> int:
    if plan.action.verb == "SHUTDOWN":
        # Not waited for: whoever stays to see the last client leave is one.
        command = plan.commands[0]
        verb = plan.action.verb
        return _said(await operator.send(connection, verb, command.text, command.target, request.timeout))
    if not plan.is_job:
        outcomes = await carry_out(connection, plan, operator, request.timeout)
        return max(_said(outcome) for outcome in outcomes)

    async def another() -> AdminConnection:
        return await connect(target, timeout=CONNECT_SECONDS)

    jobs = [
        Job(number, plan, command, operator, another, changed=_say_that_it_holds)
        for number, command in enumerate(plan.commands, 1)
    ]
    statuses = await asyncio.gather(*(_waited_for(job, request.timeout) for job in jobs))
    return max(statuses)


def _say_that_it_holds(view: JobView) -> None:
    """SUSPEND is complete long before its job is over."""
    if view.state is State.HOLDING and view.can_abort:
        typer.echo(view.command)


async def _waited_for(job: Job, timeout: float | None) -> int:
    """Given up, it is taken back before this ends; also by Ctrl-C, and then too it is said whether it was."""
    task = asyncio.ensure_future(job.run())
    try:
        done, _ = await asyncio.wait([task], timeout=timeout)
    except asyncio.CancelledError:
        await _given_up(job, task)
        session.failed(f"{job.view.command}: {job.view.text}", session.INTERRUPTED)
        raise
    if not done:
        await _given_up(job, task)
    return _ended(job.view, is_late=not done)


async def _given_up(job: Job, task: asyncio.Task[State]) -> None:
    if not task.done():
        await job.abort()
        await asyncio.wait([task])


def _ended(view: JobView, *, is_late: bool) -> int:
    if view.state is State.DONE:
        typer.echo(view.command.split()[0])
        return session.DONE
    late = "no answer in time, " if is_late else ""
    status = session.UNREACHABLE if is_late or view.state is State.LOST else session.REFUSED
    return session.failed(f"{view.command}: {late}{view.text}", status)


def _said(outcome: Outcome) -> int:
    if outcome.result is Result.DONE:
        typer.echo(outcome.text)
        return session.DONE
    status = session.UNREACHABLE if outcome.result is Result.LOST else session.REFUSED
    return session.failed(str(outcome), status)


def _ask(plan: Plan) -> int | None:
    """Have the name typed; an exit status if it is not, or nobody is there to do so."""
    if not sys.stdin.isatty():
        return session.failed(f"{plan.title} is not done without being asked for: --yes", session.USAGE)
    lines = [plan.title, *plan.effect, *(command.shown for command in plan.commands)]
    if plan.undo:
        lines.append(f"Undo: {plan.undo}")
    for line in lines:
        typer.echo(_plain(line), err=True)
    typer.echo(f"Type {_plain(plan.typed)} to do it: ", nl=False, err=True)
    answer = sys.stdin.readline().removesuffix("\n")
    return None if plan.typed in (answer, answer.strip()) else session.failed("not done", session.REFUSED)


def _plain(text: str) -> str:
    """Without control characters: what a client calls itself is shown on somebody's terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
