"""Makes the small odd DICOM series that the reader's tests read: every transfer syntax and every
case that archives export, with the right answer or the right refusal beside them.

    python make_odd_dicom.py FOLDER

Writes FOLDER/odd_dicom.tar.xz (a folder of files for each case) and FOLDER/expected.json. The
answers are computed from what was put in (numpy), not read back by any DICOM reader; only for the
lossy syntaxes they are what pydicom's codecs (CharLS, OpenJPEG) decode. The same packages give the
same bytes. Needs requirements-dicom.txt.
"""

import argparse
import copy
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence

from odd_dicom_files import (
    BIG,
    COLUMNS,
    DEFLATED,
    ENHANCED,
    EXPLICIT,
    IMPLICIT,
    J2K,
    J2K_LOSSY,
    JPEG_57,
    JPEG_70,
    JPEG_EXTENDED,
    JPEG_LS,
    JPEG_LS_NEAR,
    JPEG_XL,
    ORIGIN,
    RLE,
    ROWS,
    SLICES,
    SPACING,
    STORED,
    any_syntax_bytes,
    bare_bytes,
    compressed,
    decoded,
    encapsulated,
    file_bytes,
    pattern,
    series,
    slice_of,
    unit,
)

PADDING_HU = -1024


class Cases:
    """The cases' files and answers."""

    def __init__(self):
        self.files, self.expected = {}, {}

    def read(self, name, files, stored=STORED, hu=None, geometry=None, notes=()):
        """A case that reads: Hounsfield units [z, y, x] are stored - 1024 if not given."""
        hu = stored.astype(np.int64) - 1024 if hu is None else hu
        hu = np.clip(hu, -32768, 32767).astype("<i2")
        axes = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
        answer = {"shape": hu.shape, "spacing_mm": SPACING, "origin_mm": ORIGIN, "axes": axes}
        answer |= geometry or {}
        answer |= {"sum": int(hu.sum(dtype=np.int64)), "notes": list(notes)}
        answer["sha256"] = hashlib.sha256(hu.tobytes()).hexdigest()
        self.add(name, files, answer)

    def refuse(self, name, files, words):
        self.add(name, files, {"refusal": words})

    def add(self, name, files, answer):
        assert name not in self.files, name
        if isinstance(files, list):
            files = {f"{n}.dcm": data for n, data in enumerate(files)}
        as_bytes = lambda data: data if isinstance(data, bytes) else file_bytes(data)
        self.files[name] = {path: as_bytes(data) for path, data in files.items()}
        self.expected[name] = answer

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / "odd_dicom.tar.xz"
        with tarfile.open(archive, "w:xz", preset=9, format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(self.files):
                for path, data in sorted(self.files[name].items()):
                    entry = tarfile.TarInfo(f"{name}/{path}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
        text = json.dumps(self.expected, indent=1, sort_keys=True)
        # One line for each list of numbers.
        (folder / "expected.json").write_text(text + "\n")
        print(f"{len(self.files)} cases, {archive.stat().st_size} bytes")


def syntaxes(cases):
    good = series()
    for name, syntax in [
        ("explicit_little", EXPLICIT),
        ("implicit_little", IMPLICIT),
        ("explicit_big", BIG),
        ("deflated", DEFLATED),
    ]:
        cases.read(name, [file_bytes(ds, syntax) for ds in good])
    signed = pattern(2, -32768, 32767, np.int16)
    signed_series = [slice_of(n, signed[n]) for n in range(SLICES)]
    for name, syntax in [
        ("rle", RLE),
        ("jpeg_lossless_57", JPEG_57),
        ("jpeg_lossless_70", JPEG_70),
        ("jpeg_ls_80", JPEG_LS),
        ("jpeg_2000_90", J2K),
    ]:
        packed = [file_bytes(compressed(ds, syntax), syntax) for ds in good]
        cases.read(name, packed)
        packed = [file_bytes(compressed(ds, syntax), syntax) for ds in signed_series]
        cases.read(f"{name}_signed", packed, signed)
    packed = [
        file_bytes(compressed(ds, JPEG_57, predictor=n + 2), JPEG_57) for n, ds in enumerate(good)
    ]
    cases.read("jpeg_lossless_57_predictors", packed)
    packed = [file_bytes(compressed(ds, JPEG_LS, fragments_per_frame=2), JPEG_LS) for ds in good]
    cases.read("jpeg_ls_80_fragments", packed)
    eight = pattern(3, 0, 255, np.uint8)
    eight_series = [slice_of(n, eight[n]) for n in range(SLICES)]
    cases.read("eight_bits", eight_series, eight)
    for name, syntax in [
        ("rle", RLE),
        ("jpeg_lossless_70", JPEG_70),
        ("jpeg_ls_80", JPEG_LS),
        ("jpeg_2000_90", J2K),
    ]:
        packed = [file_bytes(compressed(ds, syntax), syntax) for ds in eight_series]
        cases.read(f"{name}_eight_bits", packed, eight)
    lossy = {"LossyImageCompression": "01"}
    note = ["series 1.2.3: 6 slices went through lossy compression, their values are approximate"]
    packed = [compressed(ds, JPEG_LS_NEAR, jls_error=3) for ds in series(**lossy)]
    near = np.stack([decoded(ds, JPEG_LS_NEAR) for ds in packed])
    assert 0 < np.abs(near.astype(int) - STORED).max() <= 3
    cases.read("jpeg_ls_81", [file_bytes(ds, JPEG_LS_NEAR) for ds in packed], near, notes=note)
    packed = [compressed(ds, J2K_LOSSY, j2k_psnr=[60]) for ds in series(**lossy)]
    near = np.stack([decoded(ds, J2K_LOSSY) for ds in packed])
    assert 0 < np.abs(near.astype(int) - STORED).max() < 60
    cases.read("jpeg_2000_91", [file_bytes(ds, J2K_LOSSY) for ds in packed], near, notes=note)

    cannot = "0.dcm: pixels compressed as {} cannot be decoded ({}); decompress the series first, e.g. with gdcmconv --raw"
    extended = [file_bytes(compressed(ds, JPEG_EXTENDED), JPEG_EXTENDED) for ds in series(**lossy)]
    cases.refuse("jpeg_extended_51", extended, "0.dcm: pixels compressed as JPEG Extended")
    xl = [any_syntax_bytes(encapsulated(ds, [b"\xff\x0a" + bytes(20)]), JPEG_XL) for ds in good]
    cases.refuse(
        "jpeg_xl_110",
        xl,
        "0.dcm: pixels compressed as JPEG XL Lossless cannot be decoded (there is no decoder for it in this program)",
    )
    odd = [any_syntax_bytes(encapsulated(ds, [b"\xff\xd8" + bytes(20)]), EXPLICIT) for ds in good]
    cases.refuse(
        "codec_unknown",
        odd,
        cannot.format("Explicit VR Little Endian", "the file does not say by what codec"),
    )

    def damaged(syntax, damage):
        files = []
        for ds in good:
            packed = compressed(ds, syntax)
            stream = next(generate_frames(packed.PixelData, number_of_frames=1))
            files.append(file_bytes(encapsulated(ds, [damage(stream)]), syntax))
        return files

    half = lambda stream: stream[: len(stream) // 2 & ~1]
    cases.refuse(
        "jpeg_ls_truncated",
        damaged(JPEG_LS, half),
        cannot.format("JPEG-LS Lossless Image Compression", "the stream ends early"),
    )
    cases.refuse("rle_truncated", damaged(RLE, half), "0.dcm: pixels compressed as RLE Lossless")
    cases.refuse(
        "jpeg_truncated",
        damaged(JPEG_70, half),
        cannot.format(
            "JPEG Lossless, Non-Hierarchical, First-Order Prediction", "the stream ends early"
        ),
    )
    cases.refuse(
        "jpeg_2000_headless",
        damaged(J2K, lambda stream: stream[60:]),
        "0.dcm: pixels compressed as JPEG 2000",
    )
    larger = np.pad(STORED[0], ((0, 2), (0, 0)))
    stream = {}
    for syntax in (JPEG_LS, JPEG_70, J2K):
        packed = compressed(slice_of(0, larger), syntax)
        stream[syntax] = next(generate_frames(packed.PixelData, number_of_frames=1))
    for name, syntax in [("jpeg_ls", JPEG_LS), ("jpeg", JPEG_70), ("jpeg_2000", J2K)]:
        files = [file_bytes(encapsulated(ds, [stream[syntax]]), syntax) for ds in good]
        cases.refuse(
            f"{name}_of_another_size",
            files,
            "(the stream has 34x36 pixels in 1 components, the file 32x36 in 1)",
        )


def files_and_folders(cases):
    good = series()
    names = ["deep/er/z", "deep/m.dcm", "a.DCM", "IM000007", "b/1.2.3.4", "c.ima"]
    cases.read("any_folders", dict(zip(names, good)))
    turned = [slice_of(n, InstanceNumber=str(SLICES - n)) for n in range(SLICES)]
    cases.read("instance_numbers_turned", {f"{9 - n}.dcm": ds for n, ds in enumerate(turned)})
    for name, syntax in [
        ("explicit_little", EXPLICIT),
        ("implicit_little", IMPLICIT),
        ("explicit_big", BIG),
    ]:
        cases.read(f"bare_{name}", [bare_bytes(ds, syntax) for ds in good])
    cases.read(
        "bare_without_extension", {f"IM{n}": bare_bytes(ds, EXPLICIT) for n, ds in enumerate(good)}
    )
    cases.read("no_preamble", [file_bytes(ds)[128:] for ds in good])
    cases.read("no_preamble_no_magic", [file_bytes(ds)[132:] for ds in good])
    cases.read(
        "magic_without_meta", [bytes(128) + b"DICM" + bare_bytes(ds, EXPLICIT) for ds in good]
    )

    def other(modality, sop_class, n, **changes):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"1.2.8.{n}"
        ds.Modality, ds.PatientID = modality, "P1"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2", f"1.2.8.{n}"
        for name, value in changes.items():
            setattr(ds, name, value)
        return ds

    def picture(ds):
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.Rows, ds.Columns, ds.PixelRepresentation = 4, 4, 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        ds.PixelData = bytes(48)
        ds["PixelData"].VR = "OB"
        return ds

    storage = "1.2.840.10008.5.1.4.1.1"
    directory = other("", "1.2.840.10008.1.3.10", 0)
    for name in ("Modality", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"):
        delattr(directory, name)
    directory.FileSetID = "DISC"
    in_space = {"RescaleSlope": "1"}
    beside = {
        "DICOMDIR": directory,
        "report.dcm": other("SR", f"{storage}.88.22", 1),
        "structures.dcm": other("RTSTRUCT", f"{storage}.481.3", 2),
        "picture.dcm": picture(other("OT", f"{storage}.7", 3)),
        "screen.dcm": picture(other("CT", f"{storage}.7", 4)),
        "dose_in_series.dcm": picture(other("CT", f"{storage}.7", 5, SeriesInstanceUID="1.2.3")),
        "raw.dcm": other("CT", f"{storage}.66", 6, SeriesInstanceUID="1.2.3", **in_space),
        "report.pdf": b"%PDF-1.4 nothing",
        "autorun.inf": b"[autorun]",
        "empty": b"",
    }
    cases.read("beside_other_files", {f"{n}.dcm": ds for n, ds in enumerate(good)} | beside)
    cases.refuse(
        "only_other_files",
        {k: v for k, v in beside.items() if "raw" not in k},
        "no CT series, only modality CT without slices, OT, RTSTRUCT, SR; dasl reads CT",
    )
    cases.refuse(
        "not_dicom",
        {"1.dcm": good[1], "2.dcm": b"some text in a file of the wrong name"},
        "2.dcm: cannot be read as DICOM (it does not begin like a DICOM file); copy the file again or leave it out",
    )
    data = file_bytes(good[3])
    files = {f"{n}.dcm": ds for n, ds in enumerate(good)}
    cases.refuse(
        "truncated_file",
        files | {"3.dcm": data[:-100]},
        "3.dcm: cannot be read as DICOM (pixel data: the file is truncated); copy the file again or leave it out",
    )
    short = slice_of(3, PixelData=STORED[3].tobytes()[:-100])
    cases.refuse(
        "short_pixels",
        files | {"3.dcm": short},
        "3.dcm: truncated pixel data (2204 bytes of 2304); copy the file again",
    )


def values(cases):
    own = [(1, -1024), (0.5, -1000), (2, -1024.4), (1, 0), (1.5, 10.5), (1, -2000)]
    exact = [
        STORED[n].astype(float) * slope + intercept for n, (slope, intercept) in enumerate(own)
    ]
    # Halves are rounded away from zero.
    hu = np.stack([np.sign(v) * np.floor(np.abs(v) + 0.5) for v in exact])
    cases.read(
        "scale_of_each_slice",
        series(lambda n: {"RescaleSlope": str(own[n][0]), "RescaleIntercept": str(own[n][1])}),
        hu=hu,
    )
    signed = pattern(2, -2000, 3000, np.int16)
    signed_series = lambda **c: [
        slice_of(n, signed[n], RescaleIntercept="0", **c) for n in range(SLICES)
    ]
    cases.read("signed", signed_series(), hu=signed)
    wide = pattern(4, -32768, 32767, np.int16)
    cases.read(
        "beyond_16_bits",
        [slice_of(n, wide[n], RescaleIntercept="1000", RescaleSlope="3") for n in range(SLICES)],
        hu=wide.astype(int) * 3 + 1000,
    )
    # Bits above the stored ones are not the pixel's (old overlays lie there).
    above = STORED | 0xA000
    cases.read("bits_above_the_stored", [slice_of(n, above[n]) for n in range(SLICES)])

    padded = signed.copy()
    padded[:, 0] = -2000
    hu = np.where(padded == -2000, PADDING_HU, padded.astype(int) + 7)
    files = [slice_of(n, padded[n], RescaleIntercept="7") for n in range(SLICES)]
    for ds in files:
        ds.add_new("PixelPaddingValue", "SS", -2000)
    cases.read("padding_signed", files, hu=hu)
    cases.read("padding_signed_implicit", [file_bytes(ds, IMPLICIT) for ds in files], hu=hu)
    files = copy.deepcopy(files)
    for ds in files:
        ds.add_new("PixelPaddingValue", "US", 63536)
    cases.read("padding_signed_as_us", files, hu=hu)
    files = copy.deepcopy(files)
    for ds in files:
        ds.add_new("PixelPaddingValue", "SS", -2000)
        ds.add_new("PixelPaddingRangeLimit", "SS", -1900)
    inside = (padded >= -2000) & (padded <= -1900)
    cases.read("padding_range", files, hu=np.where(inside, PADDING_HU, padded.astype(int) + 7))
    files = series(RescaleIntercept="-1000")
    for ds in files:
        ds.add_new("PixelPaddingValue", "US", 4095)
        ds.add_new("PixelPaddingRangeLimit", "US", 4000)
    hu = np.where(STORED >= 4000, PADDING_HU, STORED.astype(int) - 1000)
    cases.read("padding_unsigned_range", files, hu=hu)
    files = series()
    for ds in files:
        ds.add_new("PixelPaddingValue", "SS", -2000)  # no unsigned pixel can have it
    cases.read("padding_out_of_range", files)

    cases.read("rescale_type_us", series(RescaleType="US"))
    cases.read("rescale_type_missing", series(RescaleType=None))
    cases.refuse(
        "rescale_type_other",
        series(RescaleType="Z_EFF"),
        "0.dcm: RescaleType is Z_EFF, not HU; only Hounsfield units are read; export the series with them",
    )
    cases.refuse(
        "rescale_missing",
        series(RescaleIntercept=None),
        "0.dcm: RescaleIntercept is missing or not a valid value; export this series again",
    )
    cases.refuse(
        "monochrome1",
        series(PhotometricInterpretation="MONOCHROME1"),
        "0.dcm: PhotometricInterpretation is MONOCHROME1, not MONOCHROME2; convert the series to MONOCHROME2 first",
    )
    cases.refuse(
        "bits_32",
        series(BitsAllocated=32, BitsStored=32, HighBit=31, PixelData=bytes(4 * ROWS * COLUMNS)),
        "0.dcm: 1 samples of 32 bits per pixel; only one sample of 8 or 16 bits is read",
    )


def places(cases):
    def stack(name, row, column, **changes):
        row, column = unit(row), unit(column)
        normal = np.cross(row, column)
        axes = [normal.tolist(), column.tolist(), row.tolist()]
        # The slices lie along the normal by construction, so n is the place in the array.
        cases.read(name, series(row=row, column=column, **changes), geometry={"axes": axes})

    stack("coronal", (1, 0, 0), (0, 0, -1))
    stack("sagittal", (0, 1, 0), (0, 0, -1))
    stack("oblique", (0.9, 0.3, -0.1), np.cross(unit((0.1, 0.2, 0.9)), unit((0.9, 0.3, -0.1))))
    stack("feet_up", (1, 0, 0), (0, -1, 0))  # the normal points to the feet
    stack("prone", (-1, 0, 0), (0, -1, 0))
    position = lambda n, z=None, y=-30: [
        f"{v:.4f}" for v in (-20, y, -100 + 2.5 * n if z is None else z)
    ]
    # Written from head to feet: the same volume.
    cases.read("head_first", {f"{9 - n}.dcm": ds for n, ds in enumerate(series())})

    good = {f"{n}.dcm": ds for n, ds in enumerate(series())}
    cases.refuse(
        "gap",
        {k: v for k, v in good.items() if k != "2.dcm"},
        "slices missing between 1.dcm and 3.dcm: a gap of 5.000 mm where 2.500 mm is usual; find the missing files",
    )
    cases.refuse(
        "same_position",
        good | {"6.dcm": slice_of(2, SOPInstanceUID="1.2.3.99")},
        "2.dcm and 6.dcm lie at the same position, -95.000 mm; keep one of them",
    )
    cases.refuse(
        "uneven",
        good | {"3.dcm": slice_of(3, ImagePositionPatient=position(3, -92.3))},
        "uneven slice spacing between 2.dcm and 3.dcm: 2.700 mm where 2.500 mm is usual; resample the series first",
    )
    cases.refuse(
        "gantry_tilt",
        series(lambda n: {"ImagePositionPatient": position(n, y=-30 + n)}),
        "1.dcm lies 1.00 mm beside the normal through 0.dcm: a tilted gantry or a moved table; straighten the series first",
    )
    cases.refuse(
        "mixed_orientations",
        good | {f"{n}.dcm": slice_of(n, column=(0, 0, -1)) for n in (4, 5)},
        "0.dcm and 4.dcm differ in ImageOrientationPatient",
    )
    cases.refuse(
        "mixed_sizes",
        good | {f"{n}.dcm": slice_of(n, STORED[n][:10]) for n in (4, 5)},
        "0.dcm and 4.dcm differ in Rows x Columns (32x36 and 10x36); split the series",
    )
    cases.refuse(
        "one_slice_of_another_size",
        good | {"3.dcm": slice_of(3, STORED[3][:10])},
        "0.dcm and 3.dcm differ in Rows x Columns (32x36 and 10x36); split the series",
    )
    cases.refuse(
        "mixed_pixel_spacing",
        good | {"5.dcm": slice_of(5, PixelSpacing=["0.7", "0.9"])},
        r"0.dcm and 5.dcm differ in PixelSpacing (0.7\0.8 and 0.7\0.9); split the series",
    )
    cases.refuse(
        "two_frames_of_reference",
        good | {"5.dcm": slice_of(5, FrameOfReferenceUID="1.2.10")},
        "0.dcm and 5.dcm differ in FrameOfReferenceUID (1.2.9 and 1.2.10); split the series",
    )
    cases.refuse(
        "single_slice",
        {"0.dcm": good["0.dcm"]},
        "series 1.2.3 has a single slice (0.dcm); give the whole series",
    )
    cases.refuse(
        "two_series",
        good | {f"b{n}.dcm": slice_of(n, series="1.2.4") for n in range(3)},
        "2 CT series here (1.2.3 with 6 slices, 1.2.4 with 3 slices); pass the files of one",
    )


def left_out(cases):
    good = {f"{n}.dcm": ds for n, ds in enumerate(series())}
    copied = good | {f"copy/{k}": v for k, v in good.items()}
    cases.read(
        "copied_file",
        good | {"copy.dcm": good["2.dcm"]},
        notes=["copy.dcm: a copy of 2.dcm, left out"],
    )
    # The same slice once more, written by another archive.
    cases.read(
        "copied_and_compressed",
        good | {"copy.dcm": file_bytes(compressed(good["2.dcm"], RLE), RLE)},
        notes=["copy.dcm: a copy of 2.dcm, left out"],
    )
    cases.read(
        "copied_folder",
        copied,
        notes=["copy/0.dcm: a copy of 0.dcm, left out, and so for 5 more files"],
    )
    cases.refuse(
        "copy_with_other_pixels",
        good | {"copy.dcm": slice_of(2, STORED[3])},
        "2.dcm and copy.dcm lie at the same position, -95.000 mm; keep one of them",
    )

    scout_type = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout = lambda n=7, **c: slice_of(
        0, STORED[0][:12], column=(0, 0, -1), ImageType=scout_type, SOPInstanceUID=f"1.2.7.{n}", **c
    )
    # A scout need not have what a slice has.
    bad_scout = scout(8, RescaleSlope=None, PhotometricInterpretation="MONOCHROME1")
    cases.read(
        "localizers_in_series",
        good | {"scout.dcm": scout(), "scout2.dcm": bad_scout},
        notes=["scout.dcm: a localizer, left out", "scout2.dcm: a localizer, left out"],
    )
    cases.read(
        "localizer_series",
        good | {"scout.dcm": scout(series="1.2.7")},
        notes=["series 1.2.7: a localizer, left out"],
    )
    cases.refuse(
        "only_localizers",
        {"a.dcm": scout(), "b.dcm": scout(8)},
        "series 1.2.3: only localizers (scout images), no slices; give the series that was scanned with them",
    )
    unmarked = slice_of(0, STORED[0][:12], column=(0, 0, -1), SOPInstanceUID="1.2.7.7")
    cases.read(
        "single_of_another_orientation",
        good | {"scout.dcm": unmarked},
        notes=["scout.dcm: a single image of another orientation, left out"],
    )
    small = slice_of(7, STORED[0][:12], SOPInstanceUID="1.2.7.7")
    cases.read(
        "single_of_another_size",
        good | {"small.dcm": small},
        notes=["small.dcm: a single image of another size, left out"],
    )

    def twice(attribute, first, second):
        one = series(**{attribute: first})
        other = [
            slice_of(
                n, STORED[(n + 1) % SLICES], SOPInstanceUID=f"1.2.6.{n + 1}", **{attribute: second}
            )
            for n in range(SLICES)
        ]
        words = f"series 1.2.3 holds 2 stacks of slices at the same positions, told apart by {attribute} ({first}, {second}), such as a0.dcm and b0.dcm; keep the files of one"
        files = {f"a{n}.dcm": ds for n, ds in enumerate(one)}
        return files | {f"b{n}.dcm": ds for n, ds in enumerate(other)}, words

    cases.refuse("two_acquisitions", *twice("AcquisitionNumber", "1", "2"))
    cases.refuse("two_phases", *twice("TemporalPositionIdentifier", "1", "2"))
    cases.refuse("two_kernels", *twice("ConvolutionKernel", "B30f", "B70f"))
    files, words = twice("AcquisitionNumber", "1", "2")
    between = {
        k: (
            slice_of(
                n,
                SOPInstanceUID=f"1.2.6.{n + 1}",
                AcquisitionNumber="2",
                ImagePositionPatient=["-20", "-30", f"{-99 + 2.5 * n:.4f}"],
            )
        )
        for n, k in enumerate(sorted(k for k in files if k[0] == "b"))
    }
    cases.refuse("two_acquisitions_between", files | between, words)


def enhanced(order, stored=STORED, per_frame_scale=False):
    """An enhanced CT image: frame i is slice order[i]."""
    ds = slice_of(0)
    for name in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
    ):
        delattr(ds, name)
    ds.SOPClassUID, ds.NumberOfFrames = ENHANCED, str(len(order))
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]

    def item(**attributes):
        out = Dataset()
        for name, value in attributes.items():
            setattr(out, name, value)
        return out

    def group(**attributes):
        return Sequence([item(**attributes)])

    def scale(n):
        return group(
            RescaleSlope="1",
            RescaleIntercept=str(-1024 + (n if per_frame_scale else 0)),
            RescaleType="HU",
        )

    shared = item(
        PixelMeasuresSequence=group(PixelSpacing=["0.7", "0.8"], SliceThickness="2.5"),
        PlaneOrientationSequence=group(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"]),
    )
    if not per_frame_scale:
        shared.PixelValueTransformationSequence = scale(0)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for i, n in enumerate(order):
        z = f"{-100 + 2.5 * n:.4f}"
        frame = item(
            FrameContentSequence=group(StackID="1", InStackPositionNumber=i + 1),
            PlanePositionSequence=group(ImagePositionPatient=["-20", "-30", z]),
        )
        if per_frame_scale:
            frame.PixelValueTransformationSequence = scale(n)
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.PixelData = np.stack([stored[n] for n in order]).tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def multi_frame(cases):
    order = [3, 0, 5, 1, 4, 2]
    cases.read("enhanced", {"ct.dcm": enhanced(order)})
    cases.read("enhanced_implicit", {"ct.dcm": file_bytes(enhanced(order), IMPLICIT)})
    hu = STORED.astype(int) - 1024 + np.arange(SLICES)[:, None, None]
    cases.read(
        "enhanced_scale_of_each_frame", {"ct.dcm": enhanced(order, per_frame_scale=True)}, hu=hu
    )
    for name, syntax in [("rle", RLE), ("jpeg_ls", JPEG_LS), ("jpeg_2000", J2K)]:
        packed = compressed(enhanced(order), syntax)
        cases.read(f"enhanced_{name}", {"ct.dcm": file_bytes(packed, syntax)})
    packed = compressed(enhanced(order), JPEG_LS, fragments_per_frame=2)
    cases.read("enhanced_jpeg_ls_fragments", {"ct.dcm": file_bytes(packed, JPEG_LS)})
    cases.read(
        "enhanced_copied",
        {"ct.dcm": enhanced(order), "ct2.dcm": enhanced(order)},
        notes=["ct2.dcm: a copy of ct.dcm, left out, and so for 5 more files"],
    )
    cases.refuse(
        "enhanced_gap",
        {"ct.dcm": enhanced([0, 1, 3, 4])},
        "slices missing between ct.dcm and ct.dcm: a gap of 5.000 mm where 2.500 mm is usual; find the missing files",
    )
    short = enhanced(order)
    del short.PerFrameFunctionalGroupsSequence[5]
    cases.refuse(
        "enhanced_without_a_frames_groups",
        {"ct.dcm": short},
        "ct.dcm: PerFrameFunctionalGroupsSequence is missing or not a valid value; export this series again",
    )
    phases = enhanced(order + order)
    for i, frame in enumerate(phases.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].TemporalPositionIndex = 1 + i // SLICES
    cases.refuse(
        "enhanced_phases",
        {"ct.dcm": phases},
        "series 1.2.3 holds 2 stacks of slices at the same positions, told apart by TemporalPositionIndex (1, 2)",
    )
    plain = slice_of(0, NumberOfFrames="2")
    plain.PixelData = STORED[:2].tobytes()
    cases.refuse(
        "multi_frame_without_groups",
        {"ct.dcm": plain},
        "ct.dcm: a multi-frame file (2 frames); convert it to single-frame CT or to NIfTI first",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    cases = Cases()
    for part in (syntaxes, files_and_folders, values, places, left_out, multi_frame):
        part(cases)
    cases.write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
