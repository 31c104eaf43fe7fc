"""Is a dataset readable without dasl, as docs/dataset.md says?

    pip install -r oracle/requirements-dataset.txt
    python oracle/check_dataset.py DATASET

Reads every array whole with zarr-python and the tables with pandas, and holds them against each
other: shapes, boxes, voxel counts, volumes; which scans are annotated; that there is a mask to
look in.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas
import zarr


def check(root, row):
    """What is wrong with a scan."""
    folder = root / "scans" / row.scan_id
    record = json.loads((folder / "scan.json").read_text())
    arrays = {
        name: np.asarray(zarr.open_array(folder / name, mode="r"))
        for name in ("ct", "labels", "lung", "native_labels")
    }
    wanted = {"ct": "int16", "labels": "uint16", "lung": "uint8", "native_labels": "uint16"}
    for name, array in arrays.items():
        geometry = record["native_geometry" if name == "native_labels" else "geometry"]
        if list(array.shape) != geometry["shape"] or array.dtype != wanted[name]:
            yield f"{name} is {array.dtype} {array.shape}"
    if [row.voxels_z, row.voxels_y, row.voxels_x] != list(arrays["ct"].shape):
        yield "scans.csv has another shape"
    if not record["lung_sure"] and not arrays["lung"].any():
        yield "no lungs, and not the whole body either"
    if row.annotated != record["annotated"] or row.nodules != len(record["nodules"]):
        yield "scans.csv and scan.json differ"
    native, labels = arrays["native_labels"], arrays["labels"]
    voxel_mm3 = np.prod(record["native_geometry"]["spacing_mm"])
    counts = np.bincount(native.ravel(), minlength=len(record["nodules"]) + 1)
    for nodule in record["nodules"]:
        label = nodule["label"]
        if counts[label] != nodule["native_voxels"]:
            yield f"nodule {label}: {counts[label]} voxels, not {nodule['native_voxels']}"
        if abs(counts[label] * voxel_mm3 - nodule["volume_mm3"]) > 1e-6 * nodule["volume_mm3"]:
            yield f"nodule {label}: another volume"
        at = np.argwhere(labels == label)
        box = nodule["box_start"], nodule["box_shape"]
        if at.min(0).tolist() != box[0] or (np.ptp(at, axis=0) + 1).tolist() != box[1]:
            yield f"nodule {label}: another box"
    if labels.max(initial=0) > len(record["nodules"]):
        yield f"label {labels.max()} is no nodule's"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    root = parser.parse_args().dataset
    scans = pandas.read_csv(root / "scans.csv", dtype={"scan_id": str, "patient_id": str})
    pandas.read_csv(root / "set_aside.csv")
    wrong = 0
    for row in scans.itertuples():
        for what in check(root, row):
            wrong += 1
            print(f"{row.scan_id}: {what}")
    print(f"{len(scans)} scans, {scans.nodules.sum()} nodules, {wrong} differences")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
