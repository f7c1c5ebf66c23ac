#!/usr/bin/env python3
"""Draw the slice where a segmentation's worst merge shows, beside image, truth and errors.

    scripts/draw_worst.py OUT.zarr/labels/segmentation --raw F/raw --truth F/labels \
        --mask F/ffn_segmentation --voxel-size 10 10 10 --z 150 250 --picture data/fib25-worst.png

The worst merge is the segment that costs most bits (VOI, H(truth | segment)); the slice is the one where its
two largest objects are both largest.
"""

import argparse
from pathlib import Path

import numpy as np

from connectomics.evaluation.pictures import draw_slice
from connectomics.evaluation.volumes import VoiTable
from connectomics.io.opening import open_volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("segmentation")
    parser.add_argument("--raw", required=True)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--mask")
    parser.add_argument("--voxel-size", nargs=3, type=float)
    parser.add_argument("--z", nargs=2, type=int, required=True, help="slices that are scored")
    parser.add_argument("--picture", type=Path, required=True)
    options = parser.parse_args()
    low, high = options.z

    def read(location: str) -> np.ndarray:
        volume = open_volume(location, options.voxel_size)
        whole = slice(0, volume.shape[1]), slice(0, volume.shape[2])
        return volume.read_box((slice(low, high), *whole))

    labels, truth = read(options.segmentation), read(options.truth).astype(np.uint64)
    if options.mask:
        truth[read(options.mask) == 0] = 0
    table = VoiTable()
    table.add(labels, truth)
    segment, bits, objects = worst_merge(labels, truth)
    here = [np.count_nonzero((labels == segment) & (truth == one), axis=(1, 2)) for one in objects]
    z = int(np.argmax(here[0].astype(float) * here[1]))
    title = f"z = {low + z}: the worst merge, {bits:.2f} bits"
    figure = draw_slice(read(options.raw)[z], truth[z], labels[z], table.contingency, title)
    figure.savefig(options.picture, dpi=70)
    print(f"segment {segment} joins {objects[0]} and {objects[1]}: {bits:.3f} bits; drawn at z = {low + z}")


def worst_merge(labels: np.ndarray, truth: np.ndarray) -> tuple[int, float, list[int]]:
    """The segment that costs most, its bits, and its two largest objects."""
    known = truth > 0
    pairs, joint = np.unique(np.stack([labels[known], truth[known]]), axis=1, return_counts=True)
    costs = {}
    for segment in np.unique(pairs[0]):
        share = joint[pairs[0] == segment]
        costs[int(segment)] = float(-np.sum(share * np.log2(share / share.sum())) / joint.sum())
    worst = max(costs, key=lambda segment: costs[segment])
    members = pairs[0] == worst
    largest = pairs[1][members][np.argsort(-joint[members])][:2]
    return worst, costs[worst], [int(one) for one in largest]


if __name__ == "__main__":
    main()
