"""What a command says: on the screen as it is, and as JSON only where nothing is lost."""

import json
import signal
import subprocess
import sys
import time

import pytest

from connectomics.cli.main import run


def test_names_with_brackets_and_colons_are_shown_as_they_are(volume, tmp_path, capsys):
    odd = tmp_path / "b [/x] [old] :thumbs_down:"
    odd.mkdir(parents=True)
    (odd / "v.h5").symlink_to(volume.split("/volumes")[0])
    assert run(["info", f"{odd}/v.h5/volumes/raw"]) == 0
    shown = "".join(line.strip("│┃ ") for line in capsys.readouterr().out.splitlines())
    assert "[/x]" in shown and "[old]" in shown and ":thumbs_down:" in shown
    assert run(["info", f"{odd}/missing.h5"]) == 2
    assert "[/x] [old] :thumbs_down:/missing.h5" in capsys.readouterr().err


def test_an_earlier_report_is_replaced(volume, tmp_path):
    report = tmp_path / "report.json"
    report.touch()  # as mktemp makes it
    for _ in range(2):
        assert run(["info", volume, "--quiet", "--json", str(report)]) == 0
        assert json.loads(report.read_text())
    others = {"zarr.json": {"zarr_format": 3}, ".zattrs": {"multiscales": []}, "info": {"scales": []}}
    for name, values in (others | {"attributes.json": {}}).items():
        (tmp_path / name).write_text(json.dumps(values))
        assert run(["info", volume, "--quiet", "--json", str(tmp_path / name)]) == 2
        assert json.loads((tmp_path / name).read_text()) == values


def test_a_report_that_cannot_be_written_is_refused_before_the_work(volume, tmp_path, capsys):
    line = ["convert", volume, str(tmp_path / "out.zarr"), "--json", str(tmp_path / "none" / "r.json")]
    assert run(line) == 2
    assert "--json" in capsys.readouterr().err and not (tmp_path / "out.zarr").exists()


def test_a_model_is_exported_with_a_report(model, tmp_path):
    line = ["models", "export", str(model), str(tmp_path / "copy"), "--json", str(tmp_path / "r.json")]
    assert run([*line, "--quiet"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["output"] == str(tmp_path / "copy")
    assert (tmp_path / "copy" / "contract.json").exists()


def test_a_doctor_looks_at_the_model_without_a_volume(model, capsys):
    line = ["doctor", "--memory", "1GB", "--model"]
    assert run([*line, str(model)]) == 0 and "toy" in capsys.readouterr().out
    assert run([*line, "no-such-model"]) == 1 and "no such model" in capsys.readouterr().out


def test_permission_denied_is_one_line(volume, monkeypatch, capsys):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", "closed.h5")

    monkeypatch.setattr("connectomics.io.describe.describe", denied)
    assert run(["info", volume]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: closed.h5: Permission denied") and said.count("\n") == 1


def test_an_interrupt_that_a_library_wraps_is_one_still(volume, monkeypatch, capsys):
    def wrap(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("KeyboardInterrupt: ") from None

    monkeypatch.setattr("connectomics.io.describe.describe", wrap)
    assert run(["info", volume]) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.setattr("connectomics.io.describe.describe", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # nobody foresaw it: the whole traceback helps
        run(["info", volume])


def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    out = tmp_path / "out.zarr"
    line = ["phantom", str(out), "--shape", "256", "256", "256", "--seed", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "connectomics.cli.main", *line], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (out / "ledger").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and "run the same command again" in said
