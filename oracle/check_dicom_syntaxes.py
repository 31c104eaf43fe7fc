"""Does dasl read a real CT series the same in every transfer syntax?

    cargo build --release -p dasl-volume --example dicom_dump
    python check_dicom_syntaxes.py target/release/examples/dicom_dump FOLDER

FOLDER holds the slices of one uncompressed CT series. Each lossless syntax is written by another
library (GDCM, CharLS, OpenJPEG, pylibjpeg; predictors 2 to 7 of JPEG lossless by odd_dicom_files) and
read by dasl; geometry and voxels must be those of the original files. Needs requirements-dicom.txt.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydicom import dcmread

from odd_dicom_files import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    J2K,
    JPEG_57,
    JPEG_70,
    JPEG_LS,
    RLE,
    bare_bytes,
    compressed,
    file_bytes,
)

SYNTAXES = {
    "implicit little endian": lambda ds, n: file_bytes(ds, IMPLICIT),
    "explicit little endian": lambda ds, n: file_bytes(ds, EXPLICIT),
    "explicit big endian": lambda ds, n: file_bytes(ds, BIG),
    "no file meta group": lambda ds, n: bare_bytes(ds, EXPLICIT),
    "deflated": lambda ds, n: file_bytes(ds, DEFLATED),
    "RLE": lambda ds, n: file_bytes(compressed(ds, RLE), RLE),
    "JPEG lossless .57": lambda ds, n: file_bytes(
        compressed(ds, JPEG_57, predictor=n + 1 if 0 < n < 7 else None), JPEG_57
    ),
    "JPEG lossless .70": lambda ds, n: file_bytes(compressed(ds, JPEG_70), JPEG_70),
    "JPEG-LS .80": lambda ds, n: file_bytes(compressed(ds, JPEG_LS), JPEG_LS),
    "JPEG 2000 .90": lambda ds, n: file_bytes(compressed(ds, J2K), J2K),
}


def dump(program, folder, scratch):
    """What dasl reads: the voxels' bytes and the geometry, and the seconds it took."""
    raw = Path(scratch) / "hu.raw"
    start = time.perf_counter()
    done = subprocess.run([program, folder, raw], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        return done.stderr.strip(), None, seconds
    return raw.read_bytes(), json.loads(done.stdout)["geometry"], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump", help="the built example dicom_dump")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.rglob("*.dcm"))
    slices = [dcmread(path) for path in paths]
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        want, geometry, _ = dump(arguments.dump, arguments.folder, scratch)
        for name, write in SYNTAXES.items():
            with tempfile.TemporaryDirectory() as folder:
                for n, ds in enumerate(slices):
                    ds.pop("DataSetTrailingPadding", None)
                    (Path(folder) / paths[n].name).write_bytes(write(ds, n))
                got, got_geometry, seconds = dump(arguments.dump, folder, scratch)
            same = got_geometry is not None and (got, got_geometry) == (want, geometry)
            failed |= not same
            answer = "the same" if same else got if isinstance(got, str) else "DIFFERS"
            print(f"{name}: {answer}, {seconds:.2f} s", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
