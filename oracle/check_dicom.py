"""Does dasl read a CT series as SimpleITK (GDCM) does?

    cargo build --release -p dasl-volume --example dicom_dump
    python check_dicom.py target/release/examples/dicom_dump FOLDER...

Each FOLDER holds one CT series, other modalities may lie beside it. Spacing, origin and direction
must agree to 1e-4 (mm, cosines), and the voxels must be identical, once what dasl does on purpose is
done to SimpleITK's: padded pixels (PixelPaddingValue, in the stored values) are -1024, values are
held within 16 bits. Exits 1 and says what differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

TOLERANCE = 1e-4
PADDING_HU = -1024


def number(reader, key):
    return float(reader.GetMetaData(key)) if reader.HasMetaDataKey(key) else None


def read(files):
    """The series of these files as SimpleITK reads it: the image, and HU with padding replaced."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    image = reader.Execute()
    hu = sitk.GetArrayFromImage(image).astype(np.int64)
    padded = 0
    for z, file in enumerate(files):
        header = sitk.ImageFileReader()
        header.SetFileName(file)
        header.ReadImageInformation()
        value, limit = number(header, "0028|0120"), number(header, "0028|0121")
        if value is None:
            continue
        if number(header, "0028|0103") == 1 and value > 32767:
            value -= 65536
        low, high = sorted((value, value if limit is None else limit))
        scale = number(header, "0028|1053"), number(header, "0028|1052")
        stored = np.rint((hu[z] - scale[1]) / scale[0])
        inside = (stored >= low) & (stored <= high)
        hu[z][inside] = PADDING_HU
        padded += int(inside.sum())
    return image, np.clip(hu, -32768, 32767), padded


def differences(dump, folder):
    """What differs, one line each."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "hu.raw"
        done = subprocess.run([dump, folder, raw], capture_output=True, text=True)
        if done.returncode:
            yield f"dasl does not read it: {done.stderr.strip()}"
            return
        answer = json.loads(done.stdout)
        geometry = answer["geometry"]
        ours = np.fromfile(raw, "<i2").reshape(geometry["shape"])
    # GDCM's own order, from the folders dasl's files lie in.
    files = []
    for parent in sorted({str(Path(file).parent) for file in answer["source"]}):
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(parent, answer["series_uid"])
        files.extend(names)
    image, theirs, padded = read(files)
    pairs = {
        "spacing": (geometry["spacing_mm"][::-1], image.GetSpacing()),
        "origin": ([geometry["origin_mm"][axis] for axis in "xyz"], image.GetOrigin()),
        "direction": (np.array(geometry["axes"])[::-1].T.ravel(), image.GetDirection()),
    }
    report = []
    for name, (our, their) in pairs.items():
        largest = np.abs(np.array(our) - np.array(their)).max()
        report.append(f"{name} {largest:.1e}")
        if largest > TOLERANCE:
            yield f"{name}: SimpleITK {their}, dasl {our}"
    if ours.shape != theirs.shape:
        yield f"shape: SimpleITK {theirs.shape}, dasl {ours.shape}"
        return
    different = int(np.count_nonzero(ours != theirs))
    report.append(f"{different} of {ours.size} voxels differ, {padded} padded")
    if different:
        yield f"{different} voxels differ"
    print(f"{folder}: shape {ours.shape}, largest differences: {', '.join(report)}")
    for note in answer["notes"]:
        print(f"  note: {note}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump", help="the built example dicom_dump")
    parser.add_argument("folders", nargs="+", help="folders with one CT series each")
    arguments = parser.parse_args()
    wrong = [
        f"{folder}: {line}"
        for folder in arguments.folders
        for line in differences(arguments.dump, folder)
    ]
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
