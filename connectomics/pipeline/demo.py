"""The demo: a phantom the model never saw is segmented, scored and drawn."""

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from connectomics.blockwise.peak import PeakMemory
from connectomics.blockwise.progress import Progress
from connectomics.evaluation.settings import CompareSettings
from connectomics.inference.settings import InferenceSettings
from connectomics.io.files import REPORT_OF, write_json
from connectomics.phantom.settings import PhantomSettings
from connectomics.pipeline.evaluate import evaluate_segmentation
from connectomics.pipeline.phantom import write_phantom
from connectomics.pipeline.report_picture import draw_report
from connectomics.pipeline.segment import segment_volume
from connectomics.pipeline.settings import PoolSettings, RegionSettings, RunSettings

MODEL = "phantom-xnh"
SHAPE = (256, 256, 256)
DEFAULT_SEED = 2000
"""The first of the seeds kept for reporting; models are trained on 0-999 and chosen on 1000-1099."""

PACKAGES = ("xray-connectomics", "torch", "openvino", "monai", "zarr", "numpy")


def run_demo(output: Path, seed: int, run_settings: RunSettings, progress: Progress) -> dict[str, Any]:
    """Run the demo in `output`; writes ``report.json`` and ``report.png`` there.

    Returns
    -------
    dict
        seed, nerl, voi_split, voi_merge, voi_sum, seconds, peak_bytes, versions.
    """
    began = time.perf_counter()
    phantom, result = output / "phantom.zarr", output / "segmentation.zarr"
    with PeakMemory() as memory:
        settings = PhantomSettings(seed=seed)
        write_phantom(phantom, SHAPE, settings, ["xray", "labels/truth"], run_settings, progress)
        segment_volume(
            str(phantom / "xray"),
            result,
            MODEL,
            region=RegionSettings(),
            inference=InferenceSettings(),
            segmentation={},
            keep_affinities=True,
            rescale=False,
            run_settings=run_settings,
            progress=progress,
        )
        segmentation = str(result / "labels/segmentation")
        truth = str(phantom / "labels/truth")
        everywhere, pool = RegionSettings(), PoolSettings()
        voxels = evaluate_segmentation(segmentation, truth, CompareSettings(), everywhere, pool, progress)
        traced = str(phantom.with_suffix(".skeletons"))
        axons = evaluate_segmentation(segmentation, traced, CompareSettings(), everywhere, pool, progress)
        scores = f"NERL {axons['nerl']:.3f}, VOI {voxels['voi_sum']:.3f}"
        title = f"A phantom that the model never saw (seed {seed}): {scores}"
        draw_report(phantom, result, output / "report.png", title)
    report: dict[str, Any] = {"seed": seed, "nerl": axons["nerl"]}
    report |= {key: voxels[key] for key in ("voi_split", "voi_merge", "voi_sum")}
    report |= {"seconds": time.perf_counter() - began, "peak_bytes": memory.peak_bytes}
    report["versions"] = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    write_json(output / "report.json", report | {REPORT_OF: "demo"})
    return report
