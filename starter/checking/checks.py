"""What a check found, how it is told, and the exit code that it amounts to."""

from collections.abc import Sequence
from dataclasses import dataclass

from failover.gates import Judgement
from starter.exit_codes import ExitCode
from starter.output import as_json, as_json_line, console, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `decides` False: told, and not what the whole is judged by."""

    about: str
    judgement: Judgement
    said: str
    decides: bool = True


def passed(about: str, said: str) -> Check:
    return Check(about=about, judgement=Judgement.PASS, said=said)


def failed(about: str, said: str) -> Check:
    return Check(about=about, judgement=Judgement.FAIL, said=said)


def unknown(about: str, said: str) -> Check:
    return Check(about=about, judgement=Judgement.INCONCLUSIVE, said=said)


def told(kind: str, title: str, checks: Sequence[Check], *, json: bool, lines: bool = False) -> ExitCode:
    """Show all of them, and what they amount to → exit code: only where every one that decides has passed, it is done.

    `lines`: for machines, on one line: others went before it.
    """
    deciding = [check for check in checks if check.decides]
    good = bool(deciding) and all(check.judgement is Judgement.PASS for check in deciding)
    if json:
        (as_json_line if lines else as_json)(kind, {"passed": good, "checks": checks})
    else:
        rows = [(check.judgement.value.upper(), check.about, check.said) for check in checks]
        table(title, ("result", "what", "found"), rows, whole=2)
        _sum_up(deciding, good=good)
    return ExitCode.DONE if good else ExitCode.NOT_PROVED


def _sum_up(deciding: Sequence[Check], *, good: bool) -> None:
    from rich.text import Text

    count = {one: sum(check.judgement is one for check in deciding) for one in Judgement}
    bad = f"NOT PASSED: {count[Judgement.FAIL]} failed, {count[Judgement.INCONCLUSIVE]} could not tell"
    said = f"PASSED: all of {len(deciding)}." if good else f"{bad}, of {len(deciding)}."
    console().print(Text(said, style="bold green" if good else "bold red"))
