#!/usr/bin/env python3
"""Write the X-ray that an EM volume might have given: coarser, blurred, with fringes, noise and artefacts.

    scripts/simulate_xray.py ../shared/data/fib25/fib25_train2.h5/raw fib25-xray.zarr --voxel-size 10 10 10 \
        --set seed=2000 --set dark=68 --set bright=172

The image is OUT/xray, uint8; settings (connectomics/phantom/simulate.py) are kept in its attributes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from connectomics.errors import ConnectomicsError
from connectomics.io.checks import check_image
from connectomics.io.ome_zarr import create_array
from connectomics.io.opening import open_volume
from connectomics.io.pyramid import build_pyramid
from connectomics.io.staging import appearing
from connectomics.phantom.simulate import SimulatedXray, XraySimulation
from connectomics.settings import apply_overrides

BLOCK = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("volume", help="EM image")
    parser.add_argument("output", help="OME-Zarr group to write; must not exist")
    parser.add_argument("--voxel-size", nargs=3, type=float, help="nm, z y x, where the file states none")
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="a setting")
    options = parser.parse_args()
    settings = XraySimulation.parse(apply_overrides({}, options.set), "--set")
    volume = open_volume(options.volume, options.voxel_size)
    check_image(volume)
    simulated = SimulatedXray(volume, settings)
    with appearing(options.output) as folder:
        write(simulated, settings, folder)
    print(
        f"{options.output}/xray: {simulated.shape} voxels of {simulated.voxel_size} nm, "
        f"levels {simulated.levels}"
    )


def write(simulated: SimulatedXray, settings: XraySimulation, folder: Path) -> None:
    target = create_array(
        folder,
        "xray",
        shape=simulated.shape,
        dtype=np.uint8,
        chunks=(BLOCK,) * 3,
        voxel_size=simulated.voxel_size,
        offset=simulated.offset,
        attributes={"simulated": settings.model_dump(mode="json") | {"levels": simulated.levels}},
    )
    for corner in np.ndindex(*(-(-n // BLOCK) for n in simulated.shape)):
        z, y, x = (
            slice(BLOCK * c, min(BLOCK * c + BLOCK, n)) for c, n in zip(corner, simulated.shape, strict=True)
        )
        target.write_box((z, y, x), simulated.xray((z, y, x)))
    if min(simulated.shape) > BLOCK:
        build_pyramid(folder, "xray", 2)


if __name__ == "__main__":
    try:
        main()
    except ConnectomicsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
