"""The tables of docs/experiments.md from curves.csv, which holds every round of every run.

    python docs/experiments/tables.py [--steps 3825] [--rate 1.0] [--add OUT]

Of so many steps, with this `learn.round_rate`. With --add the finished runs of an experiment's folder
OUT, which are of these, go to curves.csv first.
Needs Python 3.10, nothing else.
"""

import argparse
import csv
from pathlib import Path
from statistics import mean, stdev

CURVES = Path(__file__).with_name("curves.csv")
CHANCE = "foreground-aware-random"
# Initial annotations, and what they have become at the end.
SIZES = {"50": "110", "100": "160", "150": "210"}
# These begin with as many annotations as the others end with.
ALL_AT_FIRST = ["spl", "at-once-160", "at-once"]
ARMS = [CHANCE, "chance-anew", "random", "largest-loss", "dasl-random", "dasl-random-both",
        "dasl-random-none", "al", "al-anew-none", "dasl", "dasl-anew", *ALL_AT_FIRST]


def begins(arm, size):
    return SIZES[size] if arm in ALL_AT_FIRST else size


def add(rows, out, steps, rate):
    key = lambda row: (row["steps"], row["rate"], row["arm"], row["initial"], row["seed"])
    known = {key(row) for row in rows}
    short = lambda row: {name: f"{float(text):.4f}" if "." in text else text for name, text in row.items()}
    for path in sorted(Path(out).glob("runs/*/rounds.csv")):
        with open(path, newline="") as file:
            found = [short(row) for row in csv.DictReader(file)]
        # A run of one round has none to tune in.
        found = [{"steps": steps, "rate": rate if len(found) > 1 else ""} | row for row in found]
        if found and key(found[0]) not in known:
            rows += [{name: row[name] for name in rows[0]} for row in found]
    size = lambda row: 9999 if row["initial"] == "all" else int(row["initial"])
    rows.sort(key=lambda row: (-int(row["steps"]), row["arm"], row["rate"], size(row), int(row["seed"]),
                             int(row["round"])))
    with open(CURVES, "w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def area(run):
    # As `dasl experiment` has it: of the rounds with as many annotations the last counts.
    points = list({float(row["annotated"]): float(row["dice"]) for row in run}.items())
    spent = points[-1][0] - points[0][0]
    parts = ((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in zip(points, points[1:]))
    return sum(parts) / spent if spent else None


def line(arm, size, runs):
    dice = " ".join(f"{mean(float(row['dice']) for row in at):.3f}" for at in zip(*runs))
    precise = [[float(row["pseudo_precision"]) for row in at if row["pseudo_precision"]] for at in zip(*runs)]
    precision = " ".join(f"{mean(values):.2f}" for values in precise if values) or "-"
    ends = [float(run[-1]["dice"]) for run in runs]
    end = f"{mean(ends):.3f}" + (f" +- {stdev(ends):.3f}" if len(ends) > 1 else "")
    of_end = lambda key: mean(float(run[-1][key]) for run in runs)
    areas = [area(run) for run in runs]
    shown = f"{mean(areas):.3f}" if areas[0] else "-"
    print(f"| `{arm}` | {size} | {len(runs)} | {of_end('annotated'):.0f} "
          f"| {round(of_end('foreground_voxels'), -3):,.0f} | {dice} | {shown} | {precision} | {end} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", default="3825")
    arguments.add_argument("--rate", default="1.0")
    arguments.add_argument("--add", metavar="OUT")
    args = arguments.parse_args()
    with open(CURVES, newline="") as file:
        rows = list(csv.DictReader(file))
    if args.add:
        add(rows, args.add, args.steps, args.rate)
    runs = {}
    for row in rows:
        if row["steps"] == args.steps and row["rate"] in (args.rate, ""):
            runs.setdefault((row["arm"], row["initial"], int(row["seed"])), []).append(row)
    seeds = sorted({seed for _, _, seed in runs})

    for arm, size in [(arm, begins(arm, size)) for size in SIZES for arm in ARMS] + [("full", "all")]:
        of_arm = [runs[arm, size, seed] for seed in seeds if (arm, size, seed) in runs]
        if of_arm:
            line(arm, size, of_arm)

    print(f"\nDice at the end less that of {CHANCE}:")
    end = lambda arm, size, seed: float(runs[arm, begins(arm, size), seed][-1]["dice"])
    for arm in ARMS[1:]:
        pairs = {size: [end(arm, size, seed) - end(CHANCE, size, seed) for seed in seeds
                        if (arm, begins(arm, size), seed) in runs and (CHANCE, size, seed) in runs]
                 for size in SIZES}
        every = sum(pairs.values(), [])
        if every:
            cells = [", ".join(f"{d:+.3f}" for d in of_size) or "-" for of_size in pairs.values()]
            error = f" +- {stdev(every) / len(every)**0.5:.4f}" if len(every) > 1 else ""
            print(f"| `{arm}` | {' | '.join(cells)} | {mean(every):+.4f}{error} ({len(every)}) |")


if __name__ == "__main__":
    main()
