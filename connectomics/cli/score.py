"""`connectomics score`: the number that the XPRESS leaderboard would show."""

from typing import Annotated, Any

from cyclopts import Parameter

from connectomics.cli.options import REGION, REPORT, Region, Report, deliver
from connectomics.cli.session import session
from connectomics.evaluation.settings import ScoreSettings

SCORE = ScoreSettings()


def score(
    submission: str,
    *,
    skeletons: str,
    settings: Annotated[ScoreSettings, Parameter(name="*")] = SCORE,
    region: Region = REGION,
    report: Report = REPORT,
) -> None:
    """Score an XPRESS submission: every figure of the official scorer, offline, oddities included.

    xpress_erl_rand is the rank. Beside it stands nerl, without the oddities (1 is perfect). The report
    says which oddities changed the score and by how much, and whether the official check or scorer would
    fail on the file.

    Parameters
    ----------
    submission
        The challenge's .zip or .h5, or any volume of labels; a data set inside follows its name.
    skeletons
        The truth: the challenge's pickle, a SWC file or folder, or npz; told by content.
    """
    from connectomics.pipeline.score import score_submission

    with session(report) as display:
        result = score_submission(submission, skeletons, settings, region, display)
    shown = {key: value for key, value in result.items() if key != "oddities"}
    deliver(result, report, "XPRESS score", shown=shown, below=[_told(one) for one in result["oddities"]])


def _told(oddity: dict[str, Any]) -> str:
    changes = ", ".join(f"{key} {change:+.4g}" for key, change in oddity["change"].items())
    return f"oddity: {oddity['explanation']} It changed {changes}."
