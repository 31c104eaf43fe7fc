"""Density of Eq. (3) by the D x D matrix of cosine similarities (scikit-learn), beside the two
streaming passes of dasl.

    cargo build --release -p dasl-learn --example density
    python oracle/bench_density.py target/release/examples/density [--largest 8000] [--goal 20000]

Measures the matrix on the largest pool and on half of it, checks that both ways give the same
densities, and extrapolates the matrix to the goal: its products grow with D^2, all else with D.
The streaming passes touch gigabytes, so their time depends on what the system has of free pages:
they are run several times.
"""

import argparse
import json
import resource
import statistics
import subprocess
import time

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity


def pool(samples, edge):
    """The numbers of crates/learn/examples/density.rs."""
    i = np.arange(samples, dtype=np.int64)
    part = lambda factor, of: ((i * factor) % of).astype(np.float32) / np.float32(of)
    radius = np.float32(edge) * (np.float32(0.1) + np.float32(0.3) * part(7919, 1009))
    middle = np.float32(edge / 2)
    shifts = part(104729, 499), part(1299709, 503), part(15485863, 509)
    grid = np.arange(edge, dtype=np.float32)
    centers = (middle + np.float32(6) * (s - np.float32(0.5)) for s in shifts)
    z, y, x = ((grid[None] - c[:, None]) ** 2 for c in centers)
    inside = radius**2
    volumes = np.empty((samples, edge, edge, edge), np.float32)
    for n in range(samples):
        distance = (z[n][:, None, None] + y[n][None, :, None]) + x[n][None, None, :]
        volumes[n] = inside[n] / (inside[n] + distance)
    return volumes.reshape(samples, -1)


def by_matrix(volumes):
    begin = time.perf_counter()
    similarity = cosine_similarity(volumes)
    density = (similarity.sum(axis=1, dtype=np.float64) - 1) / (len(volumes) - 1)
    return time.perf_counter() - begin, density


def streaming(program, samples, edge):
    answer = subprocess.run([program, str(samples), str(edge)], check=True, capture_output=True)
    return json.loads(answer.stdout)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("program")
    arguments.add_argument("--largest", type=int, default=8000)
    arguments.add_argument("--goal", type=int, default=20000)
    arguments.add_argument("--edge", type=int, default=32)
    arguments.add_argument("--runs", type=int, default=5)
    args = arguments.parse_args()

    sizes = [args.largest // 2, args.largest]
    volumes = pool(args.largest, args.edge)
    by_matrix(volumes[:500])  # threads and memory are there
    seconds = []
    for size in sizes:
        spent, density = by_matrix(volumes[:size])
        seconds.append(spent)
        print(f"matrix     D = {size}: {spent:.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"           peak {peak:.1f} GB")

    ours = streaming(args.program, args.largest, args.edge)
    some = density[:: max(args.largest // 5, 1)]
    worst = np.abs(some - np.array(ours["some"])).max()
    print(f"           difference of the densities at most {worst:.1e}")
    assert worst < 1e-4, "the two ways differ"

    # a D + b D^2 through both points.
    (d1, d2), (t1, t2) = sizes, seconds
    b = max((t2 / d2 - t1 / d1) / (d2 - d1), 0.0)
    a = max(t2 / d2 - b * d2, 0.0)
    goal = args.goal
    expected = a * goal + b * goal**2
    gigabytes = (2 * goal * args.edge**3 + goal**2) * 4 / 1e9
    measured = "measured" if goal in sizes else "extrapolated"
    print(f"matrix     D = {goal}: {expected:.1f} s ({measured}), at least {gigabytes:.1f} GB")
    runs = [streaming(args.program, goal, args.edge) for _ in range(args.runs)]
    ours = sorted(run["storing_s"] + run["second_pass_s"] for run in runs)
    median, peak = statistics.median(ours), max(run["peak_gb"] for run in runs)
    print(f"streaming  D = {goal}: {median:.2f} s with the storing, the median of {args.runs} runs")
    print(f"           ({ours[0]:.2f} to {ours[-1]:.2f} s), peak {peak:.2f} GB")
    print(f"ratio      {expected / median:.0f}")
    passes = statistics.median(run["in_memory_s"] for run in runs)
    print(f"both passes alone, over samples in memory as the matrix has them: {passes:.2f} s,")
    print(f"ratio      {expected / passes:.0f}")


if __name__ == "__main__":
    main()
