"""A whole scan by `dasl segment` beside the same network in PyTorch under MONAI's sliding window, and
beside MONAI's RetinaNet for lung nodules (random weights: for its time only).

On a machine that does nothing else:

    pip install -r oracle/requirements-unet.txt
    dasl export --out exported
    dasl import scans SERIES --out dataset
    python oracle/bench_monai.py SERIES --dasl target/release/dasl --exported exported \\
        --scan dataset/scans/NAME

dasl's time is all of it: DICOM in, lungs, resampling, tiles, masks over 8 mirror images, label map,
tables, pictures and DICOM segmentation out. The others are given the scan in memory, resampled and cut
to the lungs' box, and what is timed is MONAI's `sliding_window_inference` alone: tiles and overlap as
dasl's (`infer.tile`, `infer.border`), detection head and mask branch on every tile.

The RetinaNet is that of MONAI's model zoo (lung_nodule_ct_detection: ResNet-50, two pyramid levels, 3
anchors, spacing 0.703 x 0.703 x 1.25 mm, windows of 192 x 192 x 80 as in its training, overlap 0.25).
It is timed on two windows after one that doesn't count, and multiplied by the scan's windows.

Each runs in a process of its own, in turn, RUNS times; printed are medians and peak memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUNS = 3
PEERS = ("PyTorch", "PyTorch channels_last_3d", "MONAI RetinaNet")
LUNA16_SPACING = 1.25, 0.703125, 0.703125  # z, y, x
WINDOW, OVERLAP = (80, 192, 192), 0.25


def lungs(scan):
    """The scan at the dataset's spacing, cut to its lungs, HU."""
    import zarr

    ct, lung = (np.asarray(zarr.open_array(scan / name, mode="r")) for name in ("ct", "lung"))
    at = np.argwhere(lung)
    return ct[tuple(slice(low, high + 1) for low, high in zip(at.min(0), at.max(0)))]


def same_network(peer, image, exported):
    """Seconds of MONAI's sliding window with dasl's network and tiles."""
    import tomllib

    import torch
    from monai.inferers import sliding_window_inference
    from safetensors.torch import load_file

    from bench_pytorch import Network

    config = tomllib.loads((exported / "config.toml").read_text())
    channels_last = "channels_last" in peer
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    network = Network(load_file(exported / "weights.safetensors"), config, layout).eval()
    tile, border = config["infer"]["tile"], config["infer"]["border"]
    low, high = -1200.0, 600.0
    image = 2 * (np.clip(image.astype(np.float32), low, high) - low) / (high - low) - 1
    image = torch.from_numpy(image)[None, None]

    detections = []  # at a quarter of the size: kept tile by tile

    def predict(patch):
        p2, p0 = network.features(patch.contiguous(memory_format=layout))
        detections.append(network.detect(p2))
        return network.mask(p0)[:, None].sigmoid()

    with torch.inference_mode():
        begin = time.perf_counter()
        sliding_window_inference(image, (tile,) * 3, 1, predict, overlap=2 * border / tile)
        return time.perf_counter() - begin, {}


def retinanet(image, spacing):
    """Seconds of MONAI's RetinaNet on all windows of the scan, from those of two."""
    import torch
    from monai.apps.detection.networks.retinanet_network import (
        RetinaNet,
        resnet_fpn_feature_extractor,
    )
    from monai.networks.nets import resnet

    backbone = resnet.ResNet(
        block=resnet.ResNetBottleneck,
        layers=[3, 4, 6, 3],
        block_inplanes=resnet.get_inplanes(),
        n_input_channels=1,
        conv1_t_stride=[2, 2, 1],
        conv1_t_size=[7, 7, 7],
    )
    extractor = resnet_fpn_feature_extractor(
        backbone=backbone, spatial_dims=3, pretrained_backbone=False, returned_layers=[1, 2]
    )
    network = RetinaNet(
        spatial_dims=3, num_classes=1, num_anchors=3, feature_extractor=extractor, size_divisible=16
    ).eval()
    shape = [round(n * spacing / s) for n, s in zip(image.shape, LUNA16_SPACING)]
    step = [int(w * (1 - OVERLAP)) for w in WINDOW]
    count = [max(1, -(-(n - w) // s) + 1) for n, w, s in zip(shape, WINDOW, step)]
    window = torch.rand(1, 1, *WINDOW[::-1])
    seconds = []
    with torch.inference_mode():
        for _ in range(3):
            begin = time.perf_counter()
            network(window)
            seconds.append(time.perf_counter() - begin)
    windows = int(np.prod(count))
    return statistics.mean(seconds[1:]) * windows, {"windows": windows}


def peer(args):
    import torch

    torch.set_num_threads(args.threads)
    image = lungs(args.scan)
    if args.peer == "MONAI RetinaNet":
        spacing = json.loads((args.scan / "scan.json").read_text())["geometry"]["spacing_mm"][0]
        seconds, more = retinanet(image, spacing)
    else:
        seconds, more = same_network(args.peer, image, args.exported)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"seconds": seconds, "gb": peak, **more}))


def dasl(args):
    with tempfile.TemporaryDirectory() as out:
        command = [args.dasl, "--threads", str(args.threads), "segment", args.series, "--out", out]
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        if status:
            sys.exit(f"{' '.join(map(str, command))} failed")
    return {"seconds": seconds, "gb": usage.ru_maxrss * 1024 / 1e9}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("series", type=Path)
    parser.add_argument("--dasl", type=Path, required=True)
    parser.add_argument("--exported", type=Path, required=True)
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)
    results = {}
    for run in range(RUNS):
        results.setdefault("dasl segment, all of it", []).append(dasl(args))
        for name in PEERS:
            if name == "MONAI RetinaNet" and run > 0:
                continue
            again = [sys.executable, *sys.argv, "--peer", name]
            answer = subprocess.run(again, check=True, capture_output=True, text=True)
            results.setdefault(name, []).append(json.loads(answer.stdout.splitlines()[-1]))
    own = statistics.median(r["seconds"] for r in results["dasl segment, all of it"])
    print(f"{args.threads} threads, medians of {RUNS} (RetinaNet: one)")
    for name, runs in results.items():
        seconds = statistics.median(r["seconds"] for r in runs)
        note = f", {runs[0]['windows']} windows" if "windows" in runs[0] else ""
        peak = max(r["gb"] for r in runs)
        print(f"{name:26} {seconds:7.1f} s {seconds / own:6.2f} {peak:6.2f} GB{note}")


if __name__ == "__main__":
    main()
