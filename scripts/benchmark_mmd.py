#!/usr/bin/env python3
"""What comparing two samples of features takes: kernel, 999 permutations, 400 bootstrap resamples.

    scripts/benchmark_mmd.py [--crops 2000] [--features 256]

--crops is the number on each side; the peak is that of the process above what it held before.
"""

import argparse
import json
import resource
import time

import numpy as np

from connectomics.adaptation.mmd import compare_samples


def peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--features", type=int, default=256)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    source, target = (random.normal(size=(options.crops, options.features)) for _ in range(2))
    before, began, cpu = peak(), time.monotonic(), time.process_time()
    found, _ = compare_samples(source, target)
    report = {"crops": options.crops, "mmd2": found.mmd2, "p_value": found.p_value}
    report |= {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(report | {"peak_bytes": peak() - before}))


if __name__ == "__main__":
    main()
