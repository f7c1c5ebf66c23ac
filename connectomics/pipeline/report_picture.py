"""The picture of a result: X-ray, affinities, segmentation, errors, and axons in three dimensions."""

from pathlib import Path

import numpy as np

from connectomics.evaluation.error_map import error_map
from connectomics.evaluation.pictures import ERROR_NAMES, draw_axons_on, error_overlay, grey_rgb, over_raw
from connectomics.evaluation.volumes import VoiTable
from connectomics.io.opening import open_volume


def draw_report(phantom: Path, result: Path, picture: Path, title: str) -> None:
    """Draw the middle section of a segmented phantom, and its longest axons, to a PNG.

    Parameters
    ----------
    phantom
        Group with ``xray`` and ``labels/truth``.
    result
        Group with ``labels/segmentation`` and ``affinities``, of a size that fits in memory.
    picture
        The PNG to write.
    title
        Written above.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    raw = open_volume(phantom / "xray")
    truth = open_volume(phantom / "labels/truth").read()
    found = open_volume(result / "labels/segmentation").read()
    section = raw.shape[0] // 2
    box = (slice(section, section + 1), slice(0, raw.shape[1]), slice(0, raw.shape[2]))
    grey = raw.read_box(box)[0]
    affinities = open_volume(result / "affinities", channels=True).read_box(box)[:3, 0]
    table = VoiTable()
    table.add(found, truth)
    errors = error_map(found[section], truth[section], table.contingency)

    figure = Figure(figsize=(19, 9.6), layout="constrained")
    figure.suptitle(title, fontsize=15)
    grid = figure.add_gridspec(2, 4)
    panels = {
        "X-ray": grey_rgb(grey),
        "affinities (z, y, x as red, green, blue)": np.moveaxis(affinities, 0, -1),
        "segmentation": over_raw(grey, found[section]),
        "errors": error_overlay(grey, errors),
    }
    for place, (name, image) in zip(((0, 0), (0, 1), (1, 0), (1, 1)), panels.items(), strict=True):
        axes = figure.add_subplot(grid[place])
        axes.imshow(image, interpolation="nearest")
        axes.set_title(name)
        axes.set_axis_off()
    axes.legend(
        handles=[Patch(color=colour, label=name) for name, colour in ERROR_NAMES.items()],
        loc="lower right",
    )
    space = figure.add_subplot(grid[:, 2:], projection="3d")
    space.set_title("the longest axons found")
    draw_axons_on(space, found, raw.voxel_size, 40)
    figure.savefig(picture, dpi=80)
