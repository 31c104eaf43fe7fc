"""Do other programs find in nodules.seg.dcm what nodules.nii.gz beside it holds?

    dasl segment SERIES_FOLDER --model run --out segmented
    python check_dicom_seg.py segmented/SCAN SERIES_FOLDER

- dciodvfy (dicom3tools, Debian) must report no error.
- highdicom must read the segments and their codes, and put the same labels into the same voxels as
  nodules.nii.gz, read by SimpleITK, to 1e-3 mm.
- segimage2itkimage (dcmqi) must do so too.
- pydicom must find the patient, the study, the frame of reference and the images of SERIES_FOLDER
  (where it is given) in the object, and each frame at the place of the image that it names, to
  0.02 mm: a CT's slices need not be spaced more exactly.
Exits 1 and says what differs.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import SimpleITK as sitk
from highdicom.sr.coding import CodedConcept

TOLERANCE_MM = 1e-3
UNEVEN_MM = 0.02
CODES = {
    "segmented_property_category": "49755003",
    "segmented_property_type": "27925004",
}
COPIED = (
    "PatientName PatientID PatientBirthDate PatientSex PatientAge StudyInstanceUID StudyDate "
    "StudyTime StudyID AccessionNumber ReferringPhysicianName FrameOfReferenceUID "
    "PositionReferenceIndicator"
).split()


def standard_errors(path):
    """What dciodvfy calls an error."""
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    lines = (done.stderr + done.stdout).splitlines()
    warnings = [line for line in lines if line.startswith("Warning")]
    print(f"dciodvfy: {len(warnings)} warnings")
    for line in warnings:
        print("   ", line)
    return [f"dciodvfy: {line}" for line in lines if line.startswith("Error")]


def points(labels, image):
    """Centres of the labelled voxels, LPS mm, and their labels."""
    index = np.argwhere(labels > 0)[:, ::-1]
    matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return index @ matrix.T + np.array(image.GetOrigin()), labels[labels > 0]


def compare(name, found_points, found_labels, expected_points, expected_labels):
    """Whether both are the same points with the same labels, in whatever order."""
    if len(found_points) != len(expected_points):
        yield f"{name}: {len(found_points)} labelled voxels, nodules.nii.gz has {len(expected_points)}"
        return

    def ordered(points, labels):
        # Whole hundredths of a millimetre: rounding must not change the order.
        order = np.lexsort((*np.rint(points * 100).T, labels))
        return points[order], labels[order]

    found_points, found_labels = ordered(found_points, found_labels)
    expected_points, expected_labels = ordered(expected_points, expected_labels)
    different = int(np.count_nonzero(found_labels != expected_labels))
    largest = np.abs(found_points - expected_points).max()
    print(f"{name}: {len(found_points)} voxels, largest distance {largest:.1e} mm")
    if different:
        yield f"{name}: {different} voxels have another label"
    if largest > TOLERANCE_MM:
        yield f"{name}: a voxel lies {largest} mm away"


def by_highdicom(path, expected):
    seg = hd.seg.segread(path)
    for number in seg.segment_numbers:
        described = seg.get_segment_description(number)
        for name, code in CODES.items():
            if getattr(described, name).value != code:
                yield f"segment {number}: {name} is {getattr(described, name)}"
        regions = [CodedConcept.from_dataset(r).value for r in described.AnatomicRegionSequence]
        if regions != ["39607008"] or described.SegmentAlgorithmType != "AUTOMATIC":
            yield f"segment {number}: region {regions}, {described.SegmentAlgorithmType}"
        family = described.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName
        print(f"    segment {number}: {described.segment_label}, {described.SegmentDescription}, {family}")
    if seg.SegmentsOverlap != "NO":
        yield "segments are said to overlap"
    volume = seg.get_volume(combine_segments=True)
    labels = volume.array
    index = np.argwhere(labels > 0)
    affine = np.asarray(volume.affine)  # from [slice, row, column] to LPS
    found = index @ affine[:3, :3].T + affine[:3, 3]
    yield from compare("highdicom", found, labels[labels > 0], *expected)


def by_dcmqi(path, expected):
    with tempfile.TemporaryDirectory() as scratch:
        beside = Path(sys.executable).with_name("segimage2itkimage")
        program = str(beside) if beside.exists() else "segimage2itkimage"
        command = [program, "-t", "nii", "-p", "s"]
        command += ["--inputDICOM", str(path), "--outputDirectory", scratch]
        done = subprocess.run(command, capture_output=True, text=True)
        files = sorted(Path(scratch).glob("s-*.nii.gz"))
        if done.returncode or not files:
            yield f"segimage2itkimage failed: {done.stdout[-500:]} {done.stderr[-500:]}"
            return
        found = []
        for file in files:
            image = sitk.ReadImage(str(file))
            array = sitk.GetArrayFromImage(image)
            found.append(points(array, image))
    # Each file may hold one segment, or several that don't overlap, as their numbers.
    joined = np.concatenate([p for p, _ in found]), np.concatenate([v for _, v in found])
    yield from compare("dcmqi", *joined, *expected)


def by_pydicom(path, series):
    seg = pydicom.dcmread(path)
    slices = [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(series.rglob("*"))
              if file.is_file() and pydicom.misc.is_dicom(file)]
    slices = {s.SOPInstanceUID: s for s in slices if s.Modality == "CT"}
    source = next(iter(slices.values()))
    for name in COPIED:
        if getattr(seg, name, None) != getattr(source, name, None) and getattr(source, name, None):
            yield f"{name}: {getattr(seg, name, None)!r}, not {getattr(source, name)!r}"
    [referenced] = seg.ReferencedSeriesSequence
    named = {i.ReferencedSOPInstanceUID for i in referenced.ReferencedInstanceSequence}
    if referenced.SeriesInstanceUID != source.SeriesInstanceUID or named != set(slices):
        yield "the series that is referred to is not this one"
    largest = 0.0
    for frame in seg.PerFrameFunctionalGroupsSequence:
        at = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        there = np.array(slices[image.ReferencedSOPInstanceUID].ImagePositionPatient, float)
        largest = max(largest, np.abs(at - there).max())
    frames = int(seg.NumberOfFrames)
    print(f"pydicom: {frames} frames, at most {largest:.1e} mm from the images that they name")
    if largest > UNEVEN_MM:
        yield f"a frame lies {largest} mm from the image that it names"
    if not seg.pixel_array.reshape(frames, -1).any(axis=1).all():
        yield "an empty frame"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", type=Path, help="folder that dasl segment wrote for a scan")
    parser.add_argument("series", type=Path, nargs="?", help="folder with the scan's DICOM series")
    arguments = parser.parse_args()
    path = arguments.scan / "nodules.seg.dcm"
    image = sitk.ReadImage(str(arguments.scan / "nodules.nii.gz"))
    expected = points(sitk.GetArrayFromImage(image), image)
    wrong = standard_errors(path)
    wrong += by_highdicom(path, expected)
    wrong += by_dcmqi(path, expected)
    if arguments.series:
        wrong += by_pydicom(path, arguments.series)
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
