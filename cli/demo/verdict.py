"""What came of a load, in words."""

from __future__ import annotations

from rich.console import Console

from cli.demo.load import LoadReport


def print_verdict(console: Console, report: LoadReport) -> None:
    """Errors, examples of wrong answers, counts and times."""
    for text, times in report.errors.most_common():
        console.print(f"{times} × {text}", style="red", markup=False)
    for example in report.examples:
        console.print(example, style="red", markup=False)
    console.print(
        f"{report.sent} queries by {report.clients} clients: {report.matched} got their own token,"
        f" {report.mismatched} did not, {report.errors.total()} errors",
        style="green" if report.clean else "red",
    )
    median, slow = (f"{report.percentile(percent) * 1000:.1f} ms" for percent in (50, 99))
    console.print(f"latency, waiting for a server included: median {median}, 99 % below {slow}")
