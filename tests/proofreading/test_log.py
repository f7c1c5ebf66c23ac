"""The log on the disk: lines come back, torn ones go, and full, closed or replaced places are named."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from connectomics.errors import BusyError, FormatError, InputError, NoSpaceError
from connectomics.proofreading.edits import (
    Cut,
    Decision,
    Delete,
    Merge,
    Redo,
    Split,
    Undo,
    from_json,
    history,
    to_json,
)
from connectomics.proofreading.log import EditLog, VolumeChangedError, log_path, read_log

BINDING = {"fragments": 5, "tables": "abc"}
WHO = {"author": "ann", "place": (1.0, 2.5, 3.0)}
CUT = Cut(
    fragment=3,
    pieces=(1 << 52, (1 << 52) + 9),
    corner=(0, 1, 2),
    shape=(1, 1, 2),
    labels="x",
    contacts=((1, 4, 7),),
)


def lines():
    merge, delete = Merge(a=1, b=2, **WHO), Delete(fragment=4, **WHO)
    split = Split(groups=((1,), (2, 3)), kept=5, cuts=(CUT,), seeds=((0.0, 1.0, 2.0, 3.0),), **WHO)
    decision = Decision(fragments=(1, 2), verdict="accept", seconds=1.5, **WHO)
    return [merge, split, decision, delete, Undo(of=delete.id, **WHO), Redo(of=delete.id, **WHO)]


@pytest.mark.parametrize("line", lines(), ids=lambda line: type(line).__name__)
def test_a_line_comes_back_from_json(line):
    assert from_json(json.loads(json.dumps(to_json(line)))) == line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "marge"}, "Did you mean 'merge'"),
        ({"kind": None}, "unknown kind"),
        ({"a": "x"}, "'a'"),
        ({"place": [1, 2]}, "'place"),
        ({"place": [1, 2, float("nan")]}, "'place"),
        ({"more": 1}, "'more'"),
    ],
)
def test_a_line_that_is_none_is_named(change, says):
    with pytest.raises(FormatError, match=says):
        from_json(to_json(Merge(a=1, b=2, **WHO)) | change)
    with pytest.raises(FormatError, match="'b'"):
        from_json({k: v for k, v in to_json(Merge(a=1, b=2, **WHO)).items() if k != "b"})


def test_undo_and_redo_are_lines_too():
    a, b, c = (Delete(fragment=n, **WHO) for n in (1, 2, 3))
    undo, redo = (lambda e: Undo(of=e.id, **WHO)), (lambda e: Redo(of=e.id, **WHO))
    assert history([a, b, undo(b), undo(a), redo(a)]) == ([a], [b])
    assert history([a, b, undo(b), c]) == ([a, c], []), "a new edit ends what could be redone"
    for wrong in ([undo(a)], [a, b, undo(a)], [a, redo(a)], [a, undo(a), b, redo(a)]):
        with pytest.raises(FormatError, match="not the last"):
            history(wrong)


def test_what_was_added_is_there_when_the_log_is_opened_again(tmp_path):
    path = log_path(tmp_path / "edits", "ann")
    with EditLog(path, BINDING) as log:
        assert log.lines == [] and not path.exists(), "who only looks leaves no log"
        for line in lines():
            log.append(line)
        kept = list(log.lines)
    with EditLog(path, BINDING) as log:
        assert log.lines == kept
        log.append(lines()[0])
    assert len(read_log(path, BINDING)) == len(kept) + 1
    assert not path.with_suffix(".lock").exists()


@pytest.mark.parametrize("keep", [1, 20, -1])
def test_a_torn_last_line_is_dropped_and_nothing_else(tmp_path, caplog, keep):
    path = tmp_path / "ann.jsonl"
    first, second, third = lines()[:3]
    with EditLog(path, BINDING) as log:
        log.append(first)
        log.append(second)
    whole = path.read_bytes()
    torn = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(torn[:-1]) + torn[-1][:keep])
    with EditLog(path, BINDING) as log:
        assert log.lines == [first]
        assert "dropped the last" in caplog.text
        log.append(third)
    assert read_log(path) == [first, third]


def test_a_header_that_a_crash_tore_is_begun_again(tmp_path):
    path = tmp_path / "ann.jsonl"
    for torn in (b"", b'{"ki', b'{"kind":"edits","version":1,"ma', b"\0" * 100, b"\0\0\n"):
        path.write_bytes(torn)
        with EditLog(path, BINDING) as log:
            assert log.lines == []
            log.append(lines()[0])
        assert len(read_log(path, BINDING)) == 1
    path.write_bytes(b"my notes")
    with pytest.raises(FormatError, match="is no edit log; nothing was touched"):
        EditLog(path, BINDING)
    assert path.read_bytes() == b"my notes"


def test_zeros_at_the_end_after_a_loss_of_power_are_dropped(tmp_path):
    path = tmp_path / "ann.jsonl"
    with EditLog(path, BINDING) as log:
        log.append(lines()[0])
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 50 + b"\n")
    with EditLog(path, BINDING) as log:
        assert len(log.lines) == 1
    assert path.read_bytes() == whole


def test_a_damaged_line_that_is_not_the_last_is_named(tmp_path):
    path = tmp_path / "ann.jsonl"
    with EditLog(path, BINDING) as log:
        for line in lines()[:3]:
            log.append(line)
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*rows[:2], b"?\n", *rows[3:]]))
    with pytest.raises(FormatError, match="line 3: is damaged"):
        EditLog(path, BINDING)
    path.write_bytes(b"".join(rows[1:]))
    with pytest.raises(FormatError, match="is no edit log: its first line"):
        EditLog(path, BINDING)
    assert not path.with_suffix(".lock").exists(), "what could not be opened is not held"
    with pytest.raises(InputError, match="no such edit log"):
        read_log(tmp_path / "bob.jsonl")


def test_a_log_of_other_fragments_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ann.jsonl"
    with EditLog(path, BINDING) as log:
        log.append(lines()[0])
    before = path.read_bytes()
    with pytest.raises(VolumeChangedError, match='fragments: 5 -> 6; tables: "abc" -> "abd"'):
        EditLog(path, {"fragments": 6, "tables": "abd"})
    assert path.read_bytes() == before


def test_two_sessions_of_one_author_refuse_each_other(tmp_path):
    path = tmp_path / "ann.jsonl"
    with EditLog(path, BINDING) as first:
        with pytest.raises(BusyError, match=f"open in another session .pid {os.getpid()}"):
            EditLog(path, BINDING)
        first.append(lines()[0])
        with EditLog(tmp_path / "bob.jsonl", BINDING) as other:
            other.append(lines()[1])
    with EditLog(path, BINDING) as again:
        assert len(again.lines) == 1
    with pytest.raises(BusyError, match="is closed"):
        first.append(lines()[0])


def test_a_log_that_another_program_changed_is_not_added_to(tmp_path):
    path = tmp_path / "ann.jsonl"
    with EditLog(path, BINDING) as log:
        log.append(lines()[0])
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(InputError, match="moved, deleted or changed"):
            log.append(lines()[1])
        path.write_bytes(content)
        with pytest.raises(InputError, match="moved, deleted or changed"):
            log.append(lines()[1])
    assert path.read_bytes() == content


@pytest.mark.parametrize("written", [0, 7])
@pytest.mark.parametrize("earlier", [0, 1])
def test_a_full_disk_leaves_the_log_as_it_was(tmp_path, monkeypatch, written, earlier):
    path = tmp_path / "ann.jsonl"
    with EditLog(path, BINDING) as log:
        for line in lines()[:earlier]:
            log.append(line)
        before = path.read_bytes() if earlier else b""
        write = os.write

        def full(handle, data):
            if written and len(data) > 10:
                return write(handle, bytes(data)[:written])
            raise OSError(errno.ENOSPC, "No space left on device")

        calls = iter(
            [full, lambda handle, data: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left"))]
        )
        monkeypatch.setattr(os, "write", lambda handle, data: next(calls)(handle, data))
        with pytest.raises(NoSpaceError, match=r"edit was not saved.*No space left"):
            log.append(lines()[2])
        monkeypatch.undo()
        assert path.read_bytes() == before and len(log.lines) == earlier
        log.append(lines()[3])  # there is room again
        assert len(log.lines) == earlier + 1
    assert len(read_log(path, BINDING)) == earlier + 1


SMALL_DISK = 'mount -t tmpfs -o size=32k tmpfs disk && exec "$@"'

FILL = """
import sys
from pathlib import Path
from connectomics.errors import NoSpaceError
from connectomics.proofreading.edits import Delete
from connectomics.proofreading.log import EditLog, read_log
path = Path("disk/ann.jsonl")
with EditLog(path, {}) as log:
    try:
        for n in range(1000):
            log.append(Delete(fragment=n, author="a" * 100, place=(0.0, 0.0, 0.0)))
    except NoSpaceError as error:
        print(error)
    known = len(log.lines)
print(known, len(read_log(path)), path.read_bytes()[-1:])
"""


def test_a_disk_that_is_really_full(tmp_path):
    (tmp_path / "disk").mkdir()
    space = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*space, "true"], capture_output=True).returncode:
        pytest.skip("needs a small file system, and this machine lets no user mount one")
    done = subprocess.run(
        [*space, "sh", "-c", SMALL_DISK, "sh", sys.executable, "-c", FILL],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"TMPDIR": tempfile.gettempdir()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, counts = done.stdout.splitlines()
    assert "edit was not saved" in said and "No space left" in said
    known, kept, end = counts.split()
    assert known == kept and 10 < int(known) < 1000 and end == r"b'\n'"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_place_that_cannot_be_written_can_be_looked_at(tmp_path, monkeypatch, code):
    path = tmp_path / "ann.jsonl"
    with EditLog(path, BINDING) as log:
        log.append(lines()[0])
    before = path.read_bytes()

    def closed(*arguments, **more):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("connectomics.blockwise.lock.os.open", closed)
    with EditLog(path, BINDING) as log:
        assert len(log.lines) == 1 and os.strerror(code) in log.read_only
        with pytest.raises(InputError, match=r"edits cannot be saved.*Choose a place that can be written"):
            log.append(lines()[1])
    monkeypatch.undo()
    assert path.read_bytes() == before


EDIT_FOR_EVER = """
import sys
from pathlib import Path
from connectomics.proofreading.edits import Delete
from connectomics.proofreading.log import EditLog
with EditLog(Path(sys.argv[1]), {}) as log:
    for n in range(10**9):
        log.append(Delete(fragment=n, author="ann", place=(0.0, 0.0, 0.0)))
        print(n, flush=True)
"""


def test_a_kill_during_edits_loses_at_most_that_edit(tmp_path):
    path = tmp_path / "edits" / "ann.jsonl"
    command = [sys.executable, "-c", EDIT_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        said = [int(child.stdout.readline()) for _ in range(20)]
        time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        said += [int(text) for text in child.stdout.read().split("\n")[:-1]]
    with EditLog(path, {}) as log:  # the lock of the dead is taken over
        numbers = [line.fragment for line in log.lines]
        log.append(lines()[0])
    assert numbers == list(range(len(numbers))) and len(said) <= len(numbers) <= len(said) + 1


@pytest.mark.parametrize("author", ["", "a/b", "..", ".hidden", "a b", "x" * 200])
def test_an_author_names_a_file(tmp_path, author):
    with pytest.raises(InputError, match="names a file"):
        log_path(tmp_path, author)
