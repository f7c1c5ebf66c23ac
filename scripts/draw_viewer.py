#!/usr/bin/env python3
"""The pictures of the viewer in the README: run, review and score, on what `connectomics demo` made.

    xvfb-run -a -s "-screen 0 1280x1024x24" scripts/draw_viewer.py DEMO FOLDER

DEMO is the folder that `connectomics demo --output DEMO` wrote; FOLDER/viewer-run.png, viewer-review.png and
viewer-score.png are written. The review that is made for them is kept apart: DEMO is left as it was.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE = (1240, 820)
WAIT_SECONDS = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if not (options.demo / "segmentation.zarr" / "region_graph").is_dir():
        sys.exit(
            f"{options.demo}: holds no segmentation.zarr; make it with 'connectomics demo --output DIR'."
        )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_CONFIG"] = f"{folder}/settings.yaml"
        copy = Path(folder) / "segmentation.zarr"
        shutil.copytree(options.demo / "segmentation.zarr", copy, ignore=shutil.ignore_patterns("edits"))
        draw(copy, options.folder)


def draw(output: Path, folder: Path) -> None:
    from connectomics.pipeline.layers import open_layers
    from napari_connectomics.widgets.window import add_docks, open_window

    viewer = open_window(open_layers(output), wait=False)
    viewer.window._qt_window.resize(*SIZE)
    docks: dict[str, Any] = {type(one).__name__: one for one in dock_widgets(viewer)} or add_docks(viewer)
    pause(1)
    review, score, run = docks["ReviewDock"], docks["ScoreDock"], docks["RunDock"]
    review.author.setText("reviewer")
    review.begin()
    until(lambda: review.controller is not None)
    for _ in range(20):  # to a place that shows two sides of some size
        candidate = review.controller.session.current
        if candidate is None or min(candidate.voxels) > 5000:
            break
        review.do("next")
    picture(viewer, folder / "viewer-review.png")
    proofread(review, output)
    raise_dock(score)
    score.truth.setCurrentIndex(score.truth.findText("skeletons"))
    review.alone.setChecked(False)
    score.start()
    until(score.button.isEnabled)
    mend_worst_merge(review, score)
    score.start()
    until(score.button.isEnabled)
    score.list.setCurrentRow(0)
    picture(viewer, folder / "viewer-score.png")
    review.end()
    viewer.layers.remove(viewer.layers["errors found"])
    raise_dock(run)
    viewer.layers["affinities"].visible, viewer.layers["segmentation"].visible = True, False
    run.out.setText("nerve-segment.zarr")
    viewer.reset_view()
    picture(viewer, folder / "viewer-run.png")
    viewer.close()


def proofread(review: Any, output: Path, decisions: int = 60) -> None:
    """Decide as one who knows the truth would."""
    from connectomics.io.opening import open_volume
    from connectomics.pipeline.layers import inputs_of
    from connectomics.proofreading.simulate import decide, true_objects

    session = review.controller.session
    phantom = Path(inputs_of(output)[0]).parent
    truth = open_volume(phantom / "labels" / "truth")
    objects = true_objects(session.output.levels[0], truth, len(session.output.lut) - 1)
    for _ in range(decisions):
        candidate = session.current
        if candidate is None:
            return
        edit = decide(session.output, session.mapping, objects, candidate)
        review.do("accept" if edit is None else "apply")


def mend_worst_merge(review: Any, score: Any) -> None:
    """Split the costliest merge by points along the skeletons that it joins."""
    from connectomics.evaluation.sampling import labels_at_nodes
    from connectomics.io.skeletons import read_skeletons
    from connectomics.proofreading.split import Seed
    from connectomics.roi import triple

    columns = score.errors.features
    merges = [i for i, kind in enumerate(columns["kind"]) if kind == "merge"]
    live, segment = review.controller.session.levels[0], int(columns["segment_1"][merges[0]])
    finest = live.volume
    traced = read_skeletons(score.truth.currentData().location).crop(finest.roi)
    where = (finest.shape, finest.voxel_size, finest.offset)
    inside = labels_at_nodes(live.read_box, *where, traced.nodes) == segment
    review.controller.set_mode("split")
    for group, name in enumerate(set(traced.ids[inside].tolist()), start=1):
        places = traced.nodes[inside & (traced.ids == name)].tolist()
        review.controller.seeds += [Seed(triple(place), group) for place in places]
    review.controller.split()
    print(review.message.text())


def dock_widgets(viewer: Any) -> list[Any]:
    """The plugin's docks of a window, in any napari."""
    from qtpy.QtWidgets import QApplication

    names = {"ReviewDock", "ScoreDock", "RunDock"}
    return [widget for widget in QApplication.allWidgets() if type(widget).__name__ in names]


def raise_dock(widget: Any) -> None:
    """Bring a tab to the front."""
    while widget is not None and "DockWidget" not in type(widget).__name__:
        widget = widget.parent()
    if widget is not None:
        widget.raise_()
    pause(0.5)


def picture(viewer: Any, path: Path) -> None:
    pause(1)
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    shrink(path)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def shrink(path: Path) -> None:
    """Few colours are enough, and a third of the bytes."""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)


def pause(seconds: float) -> None:
    """Let the window live."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec()


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not met():
        if time.monotonic() > end:
            sys.exit("the window does not go on.")
        pause(0.1)


if __name__ == "__main__":
    main()
