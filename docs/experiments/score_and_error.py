"""How well what a round thinks of its pool tells which outlines are wrong.

    python docs/experiments/score_and_error.py SCORES.jsonl SAMPLES.csv [--top 20]

SCORES.jsonl is `learn/rounds/N/scores.jsonl` of a run of `dasl learn` or `dasl experiment`, SAMPLES.csv
what `dasl evaluate samples DATASET --model M --out OUT` wrote of the weights that the round began with:
M is a folder with the run's config.toml and split.json, and the checkpoint of round N - 1
(`learn/rounds/N-1/weights/checkpoint.safetensors`). Prints, for each number by which samples could be
chosen, its rank correlation with the error (1 - Dice), and the samples that have most of it. Needs
Python 3.10, nothing else.
"""

import argparse
import csv
import json
from statistics import correlation, mean, median


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    places = [0] * len(values)
    for place, i in enumerate(order):
        places[i] = place
    return places


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("scores")
    arguments.add_argument("samples")
    arguments.add_argument("--top", type=int, default=20)
    args = arguments.parse_args()

    with open(args.samples, newline="") as file:
        truth = {f"{row['scan']}#{row['label']}": row for row in csv.DictReader(file)}
    with open(args.scores) as file:
        pool = [json.loads(line) for line in file]
    dice = [float(truth[s["sample"]]["dice"]) for s in pool]
    diameter = [float(truth[s["sample"]]["diameter_mm"]) for s in pool]
    error = [1 - d for d in dice]

    numbers = {"uncertainty, Eq. (2)": [s["uncertainty"] for s in pool]}
    if all(s["density"] is not None for s in pool):
        numbers["density"] = [s["density"] for s in pool]
        numbers["uncertainty x density, Eq. (3)"] = [s["uncertainty"] * s["density"] for s in pool]
    numbers |= {"loss of Eq. (7)": [s["loss"] for s in pool], "diameter": diameter}

    print(f"{len(pool)} samples, Dice {mean(dice):.3f}, diameter {median(diameter):.1f} mm")
    print(f"{'':30} {'with error':>10}  {'Dice, diameter of the top ' + str(args.top)}")
    for name, values in numbers.items():
        top = sorted(range(len(pool)), key=lambda i: -values[i])[: args.top]
        with_error = correlation(ranks(values), ranks(error))
        of_top = f"{mean(dice[i] for i in top):.3f} {median(diameter[i] for i in top):6.1f} mm"
        print(f"{name:30} {with_error:10.2f}  {of_top}")


if __name__ == "__main__":
    main()
