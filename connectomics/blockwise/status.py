"""What the ledger says of the runs on an output."""

import statistics
from typing import Any

from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.lock import is_held
from connectomics.errors import InputError
from connectomics.io.place import Place, as_place, subfolders


def read_status(out: str | Place) -> dict[str, Any]:
    """Blocks done, in flight and failed, rate, time left, median seconds a block, the slowest; for each step.

    Raises
    ------
    InputError
        The output does not exist or no command of ours wrote to it.
    """
    folder = as_place(out) / "ledger"
    if not folder.is_dir():
        raise InputError(f"{out}: no run has been recorded there.")
    report: dict[str, Any] = {}
    live = is_held(folder / "lock.json")
    for command in subfolders(folder):
        ledger = Ledger(command)
        report[command.name] = "complete" if ledger.noted("complete") else "not complete"
        for step in [path.name for path in subfolders(command)]:
            report[f"{command.name} / {step}"] = _step(ledger, step, live)
    report["live"] = live
    return report


def _step(ledger: Ledger, step: str, live: bool) -> dict[str, Any]:
    records = ledger.records(step)
    done = [record for record in records if record["status"] == "done"]
    slowest = sorted(done, key=lambda record: -record["seconds"])[:3]
    summary: dict[str, Any] = {"done": len(done), "failed": [f.name for f in ledger.failures(step)]}
    plan = ledger.noted(f"plan-{step}") or {}
    left = int(plan.get("blocks", len(done))) - len(done)
    if plan:
        summary["blocks"] = plan["blocks"]
    if live and left:
        summary["running"] = ledger.noted(f"running-{step}") or []
    now = [record["finished"] for record in done if record["finished"] >= plan.get("began", 0)]
    if now and left:
        rate = len(now) / max(1e-6, max(now) - plan.get("began", min(now)))
        summary |= {"blocks_per_second": round(rate, 4), "seconds_left": round(left / rate)}
    if done:
        summary["median_seconds"] = statistics.median(record["seconds"] for record in done)
        summary["slowest"] = [f"{record['name']}: {record['seconds']} s" for record in slowest]
    return summary
