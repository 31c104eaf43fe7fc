"""Do dasl and SimpleITK read the same out of MetaImage, NRRD and NIfTI files?

    cargo build --release -p dasl-volume --example image_dump
    python check_formats.py target/release/examples/image_dump

SimpleITK writes scans in every format, type and packing, axial, flipped and oblique; some headers
are written by hand, for SimpleITK has no way to ask for them. Both read each file: size and voxels
(their CRC-32) must be identical, spacing, origin and direction agree to 1e-6 (1e-4 for NIfTI, which
holds 32-bit numbers). Then dasl writes what it read and SimpleITK reads that. Exits 1 and says what
differs.
"""

import argparse
import gzip
import itertools
import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SHAPE = (5, 6, 7)
SPACING = (0.703125, 0.6640625, 2.5)
ORIGIN = (-166.123456789, 171.7, -340.25)

TYPES = {
    "int8": sitk.sitkInt8,
    "uint8": sitk.sitkUInt8,
    "int16": sitk.sitkInt16,
    "uint16": sitk.sitkUInt16,
    "int32": sitk.sitkInt32,
    "uint32": sitk.sitkUInt32,
    "float32": sitk.sitkFloat32,
    "float64": sitk.sitkFloat64,
}


def rotation(a, b, c):
    """Turns about x, y and z, in radians."""
    (sa, sb, sc), (ca, cb, cc) = np.sin([a, b, c]), np.cos([a, b, c])
    x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return z @ y @ x


DIRECTIONS = {
    "axial": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": rotation(0.1, -0.2, 0.3),
    "oblique-flipped": rotation(0.4, 0.1, -2.0) @ np.diag([-1.0, 1.0, 1.0]),
}


def image(type_name, direction, seed):
    """A scan with values that fit its type; floats are not whole, and none ends in .5."""
    rng = np.random.default_rng(seed)
    low, high = {"int8": (-128, 127), "uint8": (0, 255)}.get(type_name, (-1024, 3071))
    if type_name.startswith("uint"):
        low = 0
    values = rng.integers(low, high, SHAPE, endpoint=True).astype(type_name)
    if type_name.startswith("float"):
        values += rng.choice([-0.375, 0.0, 0.25], SHAPE).astype(type_name)
    scan = sitk.GetImageFromArray(values)
    scan.SetSpacing(SPACING)
    scan.SetOrigin(ORIGIN)
    scan.SetDirection(DIRECTIONS[direction].ravel())
    return scan


def by_simpleitk(folder):
    """Files that SimpleITK writes."""
    endings = ["mhd", "mha", "nrrd", "nhdr", "nii", "nii.gz"]
    cases = itertools.product(endings, TYPES, DIRECTIONS, [False, True])
    for number, (ending, type_name, direction, compress) in enumerate(cases):
        path = folder / f"{number:03d}-{type_name}-{direction}-{compress}.{ending}"
        sitk.WriteImage(image(type_name, direction, number), str(path), useCompression=compress)
        yield path


def by_hand(folder):
    """Headers that SimpleITK reads and does not write."""
    rng = np.random.default_rng(7)
    values = rng.integers(-1024, 3071, SHAPE).astype("<i2")
    little, big = values.tobytes(), values.astype(">i2").tobytes()
    size = f"{SHAPE[2]} {SHAPE[1]} {SHAPE[0]}"
    meta = f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nElementType = MET_SHORT\n"
    spacing = "ElementSpacing = 0.7 0.8 2.5\n"
    local = "ElementDataFile = LOCAL\n"

    def write(name, header, data, beside=None):
        path = folder / name
        path.write_bytes(header.encode() + (b"" if beside else data))
        if beside:
            (folder / beside).write_bytes(data)
        return path

    msb = "BinaryData = True\nBinaryDataByteOrderMSB = True\n"
    yield write("msb.mha", meta + spacing + msb + local, big)
    element = "BinaryData = True\nElementByteOrderMSB = True\n"
    yield write("element-msb.mha", meta + spacing + element + local, big)
    yield write("no-binary-data.mha", meta + spacing + local, little)
    binary = "BinaryData = True\n"
    names = "Position = 1 2 3\nOrientation = 0 1 0 0 0 1 1 0 0\n"
    yield write("position.mha", meta + spacing + binary + names + local, little)
    names = "Origin = 1 2 3\nRotation = 0 1 0 0 0 1 1 0 0\n"
    yield write("origin.mha", meta + spacing + binary + names + local, little)
    yield write("size.mha", meta + spacing.replace("Spacing", "Size") + binary + local, little)
    luna = "TransformMatrix = -1 0 0 0 -1 0 0 0 1\nAnatomicalOrientation = RAI\nOffset = 1 2 3\n"
    luna += "CenterOfRotation = 5 6 7\n"
    end = "ElementDataFile = luna.raw\n"
    yield write("luna.mhd", meta + spacing + binary + luna + end, little, "luna.raw")
    end = "HeaderSize = 9\nElementDataFile = skip.raw\n"
    yield write("skip.mhd", meta + spacing + binary + end, b"x" * 9 + little, "skip.raw")
    end = "HeaderSize = -1\nElementDataFile = last.raw\n"
    yield write("last.mhd", meta + spacing + binary + end, b"x" * 9 + little, "last.raw")
    end = "CompressedData = True\nElementDataFile = no-size.zraw\n"
    data = zlib.compress(little)
    yield write("no-size.mhd", meta + spacing + binary + end, data, "no-size.zraw")
    end = f"CompressedData = True\nCompressedDataSize = {len(data)}\n" + local
    yield write("trailing.mha", meta + spacing + binary + end, data + b"behind")
    yield write("windows.mha", (meta + spacing + binary + local).replace("\n", "\r\n"), little)

    nrrd = f"NRRD0004\ndimension: 3\nsizes: {size}\ntype: signed short int\n"
    raw = "encoding: raw\nendian: little\n"
    vectors = "space origin: (1,2,3)\nspace directions: (0.7,0,0) (0,-0.8,0) (0,0,2.5)\n"
    for space in ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior"):
        yield write(f"{space}.nrrd", nrrd + raw + f"space: {space}\n{vectors}\n", little)
    ras = "space: RAS\n" + vectors
    yield write("msb.nrrd", nrrd + "encoding: raw\nendian: big\n" + ras + "\n", big)
    plain = "spacings: 0.7 0.8 2.5\n"
    yield write("spacings.nrrd", nrrd + raw + plain + "\n", little)
    skip = "line skip: 2\nbyte skip: 3\ndata file: skip2.raw\n"
    yield write("skip.nhdr", nrrd + raw + ras + skip, b"one\ntwo\nxyz" + little, "skip2.raw")
    skip = "byte skip: -1\ndata file: last2.raw\n"
    yield write("last.nhdr", nrrd + raw + ras + skip, b"xyz" + little, "last2.raw")
    packed = "encoding: gz\nendian: little\n"
    skip = "line skip: 1\nbyte skip: 3\ndata file: skip.gz\n"
    data = b"one\n" + gzip.compress(b"xyz" + little)
    yield write("skip-gz.nhdr", nrrd + packed + ras + skip, data, "skip.gz")


def expected(path, labels=False):
    """What SimpleITK reads, in the words of image_dump."""
    scan = sitk.ReadImage(str(path))
    values = np.rint(sitk.GetArrayFromImage(scan).astype("f8"))
    return {
        "size": list(scan.GetSize()),
        "spacing": list(scan.GetSpacing()),
        "origin": list(scan.GetOrigin()),
        "direction": list(scan.GetDirection()),
        "crc32": zlib.crc32(values.astype("<u2" if labels else "<i2").tobytes()),
    }


def differences(ours, theirs, tolerance):
    """What differs, one line each."""
    for name in ("size", "crc32"):
        if ours[name] != theirs[name]:
            yield f"{name}: {ours[name]} by dasl, {theirs[name]} by SimpleITK"
    for name in ("spacing", "origin", "direction"):
        largest = np.abs(np.subtract(ours[name], theirs[name])).max()
        if largest > tolerance:
            yield f"{name}: {ours[name]} by dasl, {theirs[name]} by SimpleITK"


def check(dump, path, out, labels):
    """What differs for one file, read and then written again."""
    tolerance = 1e-4 if ".nii" in path.name else 1e-6
    command = [dump, str(path), *(["labels"] if labels else []), *out]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        yield f"{path.name}: dasl says {done.stderr.strip()}"
        return
    ours = json.loads(done.stdout)
    for line in differences(ours, expected(path, labels), tolerance):
        yield f"{path.name}: {line}"
    written = Path(out[0])
    scan = sitk.ReadImage(str(written))
    if scan.GetPixelID() != (sitk.sitkUInt16 if labels else sitk.sitkInt16):
        yield f"{path.name} -> {written.name}: {scan.GetPixelIDTypeAsString()}"
    # Nothing may get lost on the way out, but for the 32-bit numbers of NIfTI.
    tolerance = 1e-4 if ".nii" in written.name else 1e-12
    for line in differences(ours, expected(written, labels), tolerance):
        yield f"{path.name} -> {written.name}: {line}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image_dump", help="the built example of dasl-volume")
    dump = parser.parse_args().image_dump
    outs = itertools.cycle(
        [["mhd"], ["mhd", "zlib"], ["mha"], ["mha", "zlib"], ["nii.gz"]]
    )
    count, found = 0, []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = itertools.chain(by_simpleitk(folder), by_hand(folder))
        for path, (ending, *packing) in zip(files, outs):
            out = [str(folder / f"out-{count}.{ending}"), *packing]
            unsigned = "-uint" in path.name
            for labels in [False, True] if unsigned else [False]:
                count += 1
                found += check(dump, path, out, labels)
    print(f"{count} files read by both and written again, {len(found)} differences")
    for line in found:
        print(line, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
