"""What the README says of the source tree stays true."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tree_is_that_of_the_sources():
    printed = subprocess.run(
        [sys.executable, ROOT / "scripts/tree"], capture_output=True, text=True, check=True
    )
    assert len(printed.stdout.splitlines()) > 100
    assert printed.stdout.strip() in (ROOT / "README.md").read_text()


def test_every_command_is_in_the_readme():
    from connectomics.cli.main import COMMANDS

    text = (ROOT / "README.md").read_text()
    missing = [name for name in COMMANDS if f"connectomics {name}" not in text]
    assert not missing
