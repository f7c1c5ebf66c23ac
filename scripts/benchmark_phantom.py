"""How hard the phantom is: threshold and components, the best of a sweep picked on the truth, by NERL."""

import argparse
import json
import time
from pathlib import Path

import cc3d
import numpy as np
from scipy.ndimage import gaussian_filter

from connectomics.evaluation.skeletons import skeleton_scores
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from connectomics.roi import Roi

SMOOTHINGS = (0.0, 2.0, 4.0)
THRESHOLDS = tuple(range(110, 215, 8))


def best_threshold(image, skeletons, voxel):
    """Best NERL over smoothings (voxels) and thresholds (grey levels), with the choice."""
    nodes = tuple(np.floor(skeletons.nodes / voxel).astype(int).T)
    best = {"nerl": -1.0}
    for sigma in SMOOTHINGS:
        smooth = gaussian_filter(image.astype(np.float32), sigma)
        for threshold in THRESHOLDS:
            pieces = cc3d.connected_components(smooth > threshold, connectivity=6)
            nerl = skeleton_scores(pieces[nodes].astype(np.int64), skeletons)["nerl"]
            if nerl > best["nerl"]:
                best = {"nerl": float(nerl), "smoothing": sigma, "threshold": threshold}
    return best


def timed(compute, box):
    start = time.perf_counter()
    result = compute(box)
    return result, result.size / 1e6 / (time.perf_counter() - start)


def measure(seed, difficulty, size):
    phantom = Phantom(PhantomSettings(seed=seed, difficulty=difficulty))
    voxel = phantom.settings.voxel_size
    box = (slice(0, size),) * 3
    labels, labels_speed = timed(phantom.labels, box)
    image, xray_speed = timed(phantom.xray, box)
    _, em_speed = timed(phantom.em, (slice(0, size // 2),) * 3)
    skeletons = phantom.skeletons(Roi((0, 0, 0), (size * voxel,) * 3))
    return {
        "seed": seed,
        "difficulty": difficulty,
        **best_threshold(image, skeletons, voxel),
        "labelled": float((labels > 0).mean()),
        "labels": len(np.unique(labels)) - 1,
        "skeletons": len(np.unique(skeletons.ids)),
        "mvoxel_per_s": {"labels": labels_speed, "xray": xray_speed, "em": em_speed},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2000, 2001, 2002, 2003, 2004])
    arguments = parser.parse_args()
    for what in ("labels", "xray", "em"):
        getattr(Phantom(), what)((slice(0, 2),) * 3)  # compile before timing
    rows = []
    for difficulty in ("easy", "medium", "hard"):
        for seed in arguments.seeds:
            rows.append(measure(seed, difficulty, arguments.size))
            r = rows[-1]
            print(
                f"{difficulty:8} {seed} NERL {r['nerl']:.3f} (smoothing {r['smoothing']}, > {r['threshold']})"
            )
            arguments.output.write_text(json.dumps(rows, indent=1))
        scores = [row["nerl"] for row in rows if row["difficulty"] == difficulty]
        print(f"{difficulty:8} mean {np.mean(scores):.3f} median {np.median(scores):.3f}")


if __name__ == "__main__":
    main()
