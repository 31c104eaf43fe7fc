"""Does a NIfTI written by dasl have the geometry and voxels of the DICOM series it came from?

    python check_geometry.py SERIES_FOLDER SCAN.nii.gz [--labels]

SimpleITK reads both. Spacing, origin and direction must agree to 1e-4 (mm, cosines) and the voxels
must be identical, once padded pixels are -1024 HU as in dasl (see check_dicom.py). With --labels
only the geometry is compared: a label map has other voxels.
Exits 1 and says what differs.
"""

import argparse
import sys

import numpy as np
import SimpleITK as sitk
from check_dicom import read

TOLERANCE = 1e-4


def read_series(folder):
    """The one DICOM series of a folder: the image, and its HU with padding replaced."""
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(folder)
    if len(series) != 1:
        sys.exit(f"{folder}: {len(series)} series, one is needed")
    image, hu, _ = read(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, series[0]))
    return image, hu


def differences(dicom, hu, nifti, labels):
    """What differs, one line each."""
    if dicom.GetSize() != nifti.GetSize():
        yield f"size: {dicom.GetSize()} in DICOM, {nifti.GetSize()} in NIfTI"
        return
    for name in ("Spacing", "Origin", "Direction"):
        ours = np.array(getattr(nifti, f"Get{name}")())
        theirs = np.array(getattr(dicom, f"Get{name}")())
        largest = np.abs(ours - theirs).max()
        print(f"{name.lower()}: largest difference {largest:.2e}")
        if largest > TOLERANCE:
            yield f"{name.lower()}: {theirs} in DICOM, {ours} in NIfTI"
    if not labels:
        different = np.count_nonzero(hu != sitk.GetArrayViewFromImage(nifti))
        print(f"voxels that differ: {different}")
        if different:
            yield f"{different} voxels differ"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("series", help="folder with the slices of one DICOM series")
    parser.add_argument("nifti", help="file written by dasl")
    parser.add_argument("--labels", action="store_true", help="compare the geometry only")
    arguments = parser.parse_args()
    found = list(
        differences(
            *read_series(arguments.series), sitk.ReadImage(arguments.nifti), arguments.labels
        )
    )
    for line in found:
        print(line, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
