"""What the rows of `benchmark_adaptation.py` say: of choosing a source, of annotating, and of planning."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from connectomics.adaptation.plan import plan
from connectomics.adaptation.plan_picture import draw_plan
from connectomics.adaptation.scores import Score, expected_scores
from connectomics.adaptation.settings import PlanSettings

DISTANCES = ("mmd2_common", "relative_common", "mmd2_deepest", "relative_deepest")
OWN = "own VOI"
"""How well a source does on its own family, in place of a distance."""
EXPECTED = "expected"
"""`adapt rank --scores`: how well it did on other families, those like the target counting most."""
STARTS = ("scratch", "worst", "random", "chosen")

CURVE = ("target", "start", "strategy", "seed", "learning_minutes")
"""What a curve over numbers of cubes is told by."""

FITTED = (1, 2, 4)
"""Cubes that a curve is fitted to; more are foreseen."""


def with_expected(rows: list, transfers: list) -> list:
    """Transfers with what `adapt rank` expects of each source, from every row that is not of its target."""

    def expected(target: str, seed: int) -> dict:
        of = [r for r in rows if r["kind"] != "curve" and r["seed"] == seed]
        scores = [
            Score(model=r.get("family") or r["source"], data=r.get("family") or r["target"], voi_sum=r["voi"])
            for r in of
            if target not in (r.get("family"), r.get("source"), r.get("target"))
        ]
        distance = {r["source"]: r["mmd2_common"] for r in of if r.get("target") == target}
        return expected_scores(scores, distance)

    keys = {(r["target"], r["seed"]) for r in transfers}
    found = {key: expected(*key) for key in keys}
    return [r | {EXPECTED: found[r["target"], r["seed"]].get(r["source"], np.nan)} for r in transfers]


def summary(rows: list, counts: Sequence[int]) -> None:
    """Print what rows say of choosing, of annotating so many cubes, and of planning."""
    own = {(row["family"], row["seed"]): row["voi"] for row in rows if row["kind"] == "source"}
    transfers = [
        row | {OWN: own.get((row["source"], row["seed"]), np.nan)}
        for row in rows
        if row["kind"] == "transfer"
    ]
    transfers = with_expected(rows, transfers)
    print("| what a source is chosen by | rank correlation with VOI over sources | regret of the least |")
    print("|---|---|---|")
    for kind in (*DISTANCES, OWN, EXPECTED):
        print(f"| {kind} | {correlation(transfers, kind)} | {regret(transfers, kind)} |")
    curves = [row for row in rows if row["kind"] == "curve"]
    print("\n| target | minutes | start | strategy | " + " | ".join(f"n = {n}" for n in counts) + " |")
    print("|---" * (4 + len(counts)) + "|")
    names = ("target", "learning_minutes", "start", "strategy")
    groups = {tuple(row[name] for name in names) for row in curves}
    for group in sorted(groups, key=lambda g: (*g[:2], STARTS.index(g[2]), g[3])):
        of = [row for row in curves if tuple(row[name] for name in names) == group]
        cells = [spread([r["voi"] for r in of if r["n"] == n]) for n in counts]
        target, minutes, *rest = group
        print(f"| {target} | {minutes:g} | {' | '.join(rest)} | {' | '.join(cells)} |")
    errors = foreseen(curves)
    print(f"\nplan: VOI at 8 and 16 foreseen from n <= 4, relative error: {spread(errors)}" if errors else "")


def correlation(transfers: list, kind: str) -> str:
    """Mean over targets and seeds of Spearman's correlation over sources; interval: bootstrap over those."""
    values = []
    for target, seed in sorted({(r["target"], r["seed"]) for r in transfers}):
        of = [r for r in transfers if (r["target"], r["seed"]) == (target, seed)]
        if len(of) >= 3:
            values.append(float(spearmanr([r[kind] for r in of], [r["voi"] for r in of])[0]))
    values = [v for v in values if np.isfinite(v)]
    if not values:
        return "too few"
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f}), {len(values)} targets x seeds"


def regret(transfers: list, kind: str) -> str:
    """VOI of the chosen source against that of the best one: the difference in bits, and relative to it."""
    values = []
    for target, seed in sorted({(r["target"], r["seed"]) for r in transfers}):
        of = [r for r in transfers if (r["target"], r["seed"]) == (target, seed)]
        chosen, best = min(of, key=lambda row: row[kind])["voi"], min(row["voi"] for row in of)
        values.append((chosen - best, chosen / max(1e-9, best) - 1))
    if not values:
        return "too few"
    bits, share = np.mean(values, 0)[0], [100 * relative for _, relative in values]
    return f"{bits:.3f} bits; mean {np.mean(share):.0f}%, median {np.median(share):.0f}%"


def draw_curves(rows: list, path: Path) -> None:
    """Draw the curves of the chosen source that have scores beyond those that are fitted, a panel each."""
    from matplotlib.figure import Figure

    curves = by_curve([row for row in rows if row["kind"] == "curve"])
    shown = {key: found for key, found in curves.items() if key[1] == "chosen" and foreseeable(found)}
    figure = Figure(figsize=(3.2 * len(shown), 3.2), layout="constrained")
    for number, (key, found) in enumerate(sorted(shown.items())):
        axes = figure.add_subplot(1, len(shown), number + 1)
        draw_plan(axes, FITTED, [found[n] for n in FITTED], PlanSettings())
        further = sorted(n for n in found if n > max(FITTED))
        axes.plot(further, [found[n] for n in further], "s", color="#fe6100", label="measured later")
        scratch = curves.get((key[0], "scratch", *key[2:]), {})
        axes.plot(*zip(*sorted(scratch.items()), strict=True), "x", color="#785ef0", label="from scratch")
        axes.set_xlim(0.9, 1.1 * max(*found, *scratch, 16))
        axes.set_ylim(0, 1.15 * max(*found.values(), *scratch.values()))
        axes.set_title(f"{key[0]}, seed {key[3]}", fontsize=10)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def by_curve(curves: list) -> dict:
    """VOI by number of cubes, of each curve."""
    found: dict = {}
    for row in curves:
        found.setdefault(tuple(row[name] for name in CURVE), {})[row["n"]] = row["voi"]
    return found


def foreseeable(found: dict) -> bool:
    """Whether there is what a curve is fitted to, and something beyond."""
    return set(FITTED) < found.keys()


def foreseen(curves: list) -> list:
    """Relative errors of what `plan` says of 8 and 16 cubes from fewer, for each curve and seed."""
    errors = []
    for found in by_curve(curves).values():
        if foreseeable(found):
            said = plan(FITTED, [found[n] for n in FITTED], PlanSettings())["predictions"]
            errors += [abs(r["voi"] / found[r["cubes"]] - 1) for r in said if found.get(r["cubes"])]
    return errors


def spread(values: list) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} - {max(values):.3f})" if values else "missing"
