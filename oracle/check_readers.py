"""Compares `dasl evaluate readers` with pylidc 0.2.3: Dice of readers with each other and their consensus.

    pip install -r oracle/requirements-pylidc.txt && pip install --no-deps pylidc==0.2.3
    python oracle/check_readers.py readers/readers.csv [--series N]

readers.csv is written by `dasl evaluate readers ... --out readers`. Of the first N series (0: all), every
nodule is compared whose outlines are of as many readers: pylidc's database does not know the readers, so
pieces of one reader can't be joined there. Exits with 1 if a Dice differs by more than 1e-9.

Outcome with --series 120: 263 nodules, all equal; one with pieces passed over.
"""

import argparse
import csv
import itertools
import os
import sys

import numpy as np

np.int, np.bool, np.float = int, bool, float
os.environ.setdefault("MPLBACKEND", "Agg")
import pylidc as pl
from pylidc.utils import consensus


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def main():
    args = argparse.ArgumentParser()
    args.add_argument("readers_csv")
    args.add_argument("--series", type=int, default=100)
    args = args.parse_args()
    with open(args.readers_csv, newline="") as f:
        rows = list(csv.DictReader(f))
    uids = sorted({row["series_uid"] for row in rows})[: args.series or None]
    compared, passed_over, worst = 0, 0, 0.0
    for uid in uids:
        scan = pl.query(pl.Scan).filter(pl.Scan.series_instance_uid == uid).one()
        groups = scan.cluster_annotations()
        for row in (row for row in rows if row["series_uid"] == uid):
            group = groups[int(row["nodule"]) - 1]
            if len(group) != int(row["readers"]):
                passed_over += 1
                continue
            all_of_it, _, masks = consensus(group, clevel=0.5)
            pairs = [dice(a, b) for a, b in itertools.combinations(masks, 2)]
            with_all = [dice(mask, all_of_it) for mask in masks]
            worst = max(worst, abs(np.mean(pairs) - float(row["pair_dice"])),
                        abs(np.mean(with_all) - float(row["consensus_dice"])))
            compared += 1
    print(f"{len(uids)} series: {compared} nodules, largest difference of Dice {worst:.1e}; "
          f"{passed_over} of readers with pieces passed over")
    sys.exit(worst > 1e-9 or compared == 0)


if __name__ == "__main__":
    main()
