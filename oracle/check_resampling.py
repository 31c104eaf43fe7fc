"""Does a dataset's CT agree with SimpleITK's linear resampling?

    pip install -r oracle/requirements-import.txt
    python oracle/check_resampling.py SERIES_FOLDER DATASET SCAN

SimpleITK reads the DICOM series (padding as dasl has it, see check_dicom.py) and resamples it
linearly onto the grid that scan.json says. Compared are the voxels within the outermost voxel
centres of the series; outside them SimpleITK has nothing to interpolate between, while dasl holds
the border's value for half a voxel. Prints the largest difference and the share above 1 HU; exits 1
if there is one.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import zarr
from check_geometry import read_series


def grid_image(geometry):
    """A reference image of a scan.json's geometry; its axes are those of z, y, x."""
    image = sitk.Image(geometry["shape"][::-1], sitk.sitkUInt8)
    image.SetSpacing(geometry["spacing_mm"][::-1])
    image.SetOrigin([geometry["origin_mm"][axis] for axis in "xyz"])
    image.SetDirection(np.array(geometry["axes"][::-1]).T.ravel().tolist())
    return image


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("series", help="folder with the slices of one DICOM series")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("scan", help="the scan's name in the dataset")
    arguments = parser.parse_args()

    folder = arguments.dataset / "scans" / arguments.scan
    geometry = json.loads((folder / "scan.json").read_text())["geometry"]
    ours = np.asarray(zarr.open_array(folder / "ct", mode="r")).astype(np.float32)

    series, hu = read_series(arguments.series)
    source = sitk.GetImageFromArray(hu.astype(np.float32))
    source.CopyInformation(series)
    # Outside the buffer ITK gives the default value, which marks it.
    outside = -1e9
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(source, grid_image(geometry), sitk.Transform(), sitk.sitkLinear, outside,
                      sitk.sitkFloat32))
    inside = within_centres(source, geometry) & (theirs > outside / 2)
    difference = np.abs(ours - theirs)[inside]
    print(f"{arguments.scan}: {inside.sum()} of {inside.size} voxels compared, largest difference "
          f"{difference.max():.4f} HU, mean {difference.mean(dtype=np.float64):.4f}, "
          f"{100 * np.mean(difference > 1):.6f} % above 1 HU")
    sys.exit(1 if difference.max() > 1 else 0)


def within_centres(source, geometry):
    """Which voxels of the grid, [z, y, x], lie between the first and the last centres of the
    source along each of its axes; the two share their axes."""
    first = np.array(source.TransformPhysicalPointToContinuousIndex(
        [geometry["origin_mm"][axis] for axis in "xyz"]))[::-1]
    step = np.array(geometry["spacing_mm"]) / np.array(source.GetSpacing())[::-1]
    size = np.array(source.GetSize())[::-1]
    tolerance = 1e-4
    axes = []
    for axis, length in enumerate(geometry["shape"]):
        at = first[axis] + step[axis] * np.arange(length)
        axes.append((at > -tolerance) & (at < size[axis] - 1 + tolerance))
    z, y, x = axes
    return z[:, None, None] & y[None, :, None] & x[None, None, :]


if __name__ == "__main__":
    main()
