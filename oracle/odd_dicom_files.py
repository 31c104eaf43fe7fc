"""DICOM files of a small made-up CT series, in any transfer syntax."""

import copy
import io
import tempfile
from pathlib import Path

import gdcm
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.uid import UID

SLICES, ROWS, COLUMNS = 6, 32, 36
SPACING = [2.5, 0.7, 0.8]  # z, y, x in mm
ORIGIN = [-20.0, -30.0, -100.0]
CT, ENHANCED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG_EXTENDED, JPEG_57, JPEG_70 = (f"1.2.840.10008.1.2.4.{n}" for n in (51, 57, 70))
JPEG_LS, JPEG_LS_NEAR, J2K, J2K_LOSSY = (f"1.2.840.10008.1.2.4.{n}" for n in (80, 81, 90, 91))
JPEG_XL = "1.2.840.10008.1.2.4.110"


def pattern(seed=1, low=0, high=4095, dtype=np.uint16):
    """Stored values [z, y, x]: a smooth ramp, flat areas, noise, and both ends of the range."""
    random = np.random.RandomState(seed)
    z, y, x = np.meshgrid(*(np.arange(n) for n in (SLICES, ROWS, COLUMNS)), indexing="ij")
    values = low + (high - low) * (0.2 + 0.02 * x + 0.01 * y + 0.03 * z)
    values[:, 4:9, 3:20] = low + (high - low) // 3
    noisy = random.randint(-40, 40, values.shape)
    noisy[:, :10] = 0
    values = values + noisy
    values[:, 15, 5:8], values[:, 16, 5:8] = low, high
    values[:, 17, 5:15] = random.randint(low, high + 1, (SLICES, 10))
    return np.clip(np.rint(values), low, high).astype(dtype)


STORED = pattern()


def unit(vector):
    return np.array(vector, float) / np.linalg.norm(vector)


def slice_of(n, stored=None, row=(1, 0, 0), column=(0, 1, 0), series="1.2.3", **changes):
    """Slice n of the good series, with attributes changed or, if None, taken away."""
    stored = STORED[n] if stored is None else stored
    row, column = unit(row), unit(column)
    normal = np.cross(row, column)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CT
    ds.SOPInstanceUID = f"{series}.{n + 1}"
    ds.Modality = "CT"
    ds.PatientName = "Secret^Name"
    ds.PatientID = "P1"
    ds.SliceThickness = "2.5"
    ds.StudyInstanceUID = "1.2"
    ds.SeriesInstanceUID = series
    ds.InstanceNumber = str(n + 1)
    ds.FrameOfReferenceUID = "1.2.9"
    position = np.array(ORIGIN) + SPACING[0] * n * normal
    ds.ImagePositionPatient = [f"{v:.6f}" for v in position]
    ds.ImageOrientationPatient = [f"{v:.9f}" for v in (*row, *column)]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.PixelSpacing = ["0.7", "0.8"]
    ds.BitsAllocated = 8 * stored.dtype.itemsize
    ds.BitsStored = {np.uint8: 8, np.uint16: 12, np.int16: 16}[stored.dtype.type]
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.RescaleIntercept = "-1024"
    ds.RescaleSlope = "1"
    ds.RescaleType = "HU"
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    for name, value in changes.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return ds


def series(change=None, **everywhere):
    """The six slices; change(n) gives the attributes of one."""
    return [slice_of(n, **{**everywhere, **(change(n) if change else {})}) for n in range(SLICES)]


def with_meta(ds, syntax):
    ds = copy.deepcopy(ds)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.ImplementationClassUID = "1.2.3.4"
    return ds


def file_bytes(ds, syntax=EXPLICIT):
    """A file as the standard has it."""
    ds = with_meta(ds, syntax)
    if syntax == BIG:
        dtype = np.dtype(np.uint8 if ds.BitsAllocated == 8 else np.uint16)
        ds.PixelData = np.frombuffer(ds.PixelData, dtype).byteswap().tobytes()
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def bare_bytes(ds, syntax):
    """The data set alone: no preamble, no magic code, no file meta group."""
    ds = copy.deepcopy(ds)
    if syntax == BIG:
        ds.PixelData = np.frombuffer(ds.PixelData, np.uint16).byteswap().tobytes()
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = syntax != BIG, syntax == IMPLICIT
    write_dataset(out, ds)
    return out.getvalue()


def any_syntax_bytes(ds, syntax):
    """A file of a transfer syntax that pydicom does not write: an explicit little endian one."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = b"\2\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid
    head = b"\2\0\0\0UL\4\0" + len(meta).to_bytes(4, "little")
    return bytes(128) + b"DICM" + head + meta + bare_bytes(ds, EXPLICIT)


def pixels_of(ds):
    dtype = {8: np.uint8, 16: np.int16 if ds.PixelRepresentation else np.uint16}[ds.BitsAllocated]
    shape = (int(ds.get("NumberOfFrames", 1)), ds.Rows, ds.Columns)
    return np.frombuffer(ds.PixelData, dtype)[: np.prod(shape)].reshape(shape)


def lossless_jpeg(pixels, bits, predictor):
    """A JPEG lossless stream (ITU-T T.81, annex H) with any of the predictors 1 to 7."""
    pixels = pixels.astype(np.int64) & ((1 << bits) - 1)
    code = "".join
    out = []
    for y, line in enumerate(pixels):
        for x, value in enumerate(line):
            a = int(line[x - 1]) if x else 0
            b = int(pixels[y - 1, x]) if y else 0
            c = int(pixels[y - 1, x - 1]) if x and y else 0
            if not x and not y:
                guess = 1 << (bits - 1)
            elif not y:
                guess = a
            elif not x:
                guess = b
            else:
                guess = [a, b, c, a + b - c, a + (b - c >> 1), b + (a - c >> 1), a + b >> 1][
                    predictor - 1
                ]
            difference = (int(value) - guess + 32768) % 65536 - 32768
            size = 16 if difference == -32768 else abs(difference).bit_length()
            out.append(f"{size:05b}")
            if 0 < size < 16:
                extra = difference if difference > 0 else difference + (1 << size) - 1
                out.append(f"{extra:0{size}b}")
    bits_out = code(out)
    bits_out += "1" * (-len(bits_out) % 8)
    scan = bytes(int(bits_out[i : i + 8], 2) for i in range(0, len(bits_out), 8))
    rows, columns = pixels.shape
    huffman = bytes([0] + [0] * 4 + [17] + [0] * 11 + list(range(17)))

    def segment(marker, content):
        return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content

    frame = bytes([bits]) + rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return (
        b"\xff\xd8"
        + segment(0xC3, frame + bytes([1, 1, 0x11, 0]))
        + segment(0xC4, huffman)
        + segment(0xDA, bytes([1, 1, 0, predictor, 0, 0]))
        + scan.replace(b"\xff", b"\xff\x00")
        + b"\xff\xd9"
    )


GDCM_SYNTAX = {
    JPEG_57: gdcm.TransferSyntax.JPEGLosslessProcess14,
    JPEG_70: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    JPEG_EXTENDED: gdcm.TransferSyntax.JPEGExtendedProcess2_4,
}


def by_gdcm(ds, syntax):
    """The streams of the frames, compressed by GDCM."""
    with tempfile.TemporaryDirectory() as folder:
        raw, packed = f"{folder}/raw.dcm", f"{folder}/packed.dcm"
        Path(raw).write_bytes(file_bytes(ds))
        reader = gdcm.ImageReader()
        reader.SetFileName(raw)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(GDCM_SYNTAX[syntax]))
        change.SetInput(reader.GetImage())
        assert change.Change(), syntax
        writer = gdcm.ImageWriter()
        writer.SetFileName(packed)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        read = dcmread(packed)
        return list(generate_frames(read.PixelData, number_of_frames=1))


def compressed(ds, syntax, fragments_per_frame=1, predictor=None, **options):
    """The data set with its pixels compressed."""
    ds = copy.deepcopy(ds)
    if predictor:
        streams = [lossless_jpeg(frame, ds.BitsStored, predictor) for frame in pixels_of(ds)]
    elif syntax in GDCM_SYNTAX:
        streams = by_gdcm(ds, syntax)
    else:
        packed = with_meta(ds, EXPLICIT)
        packed.compress(UID(syntax), generate_instance_uid=False, **options)
        frames = int(ds.get("NumberOfFrames", 1))
        streams = list(generate_frames(packed.PixelData, number_of_frames=frames))
    return encapsulated(ds, streams, fragments_per_frame)


def encapsulated(ds, streams, fragments_per_frame=1):
    ds = copy.deepcopy(ds)
    ds.PixelData = encapsulate(streams, fragments_per_frame=fragments_per_frame)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def decoded(ds, syntax):
    """What pydicom decodes, for the lossy syntaxes."""
    return dcmread(io.BytesIO(file_bytes(ds, syntax))).pixel_array
