"""A 3D U-Net of MONAI on the nodules that dasl was trained on, for as long, and its outlines' Dice.

    pip install -r oracle/requirements-unet.txt
    python oracle/train_unet.py TRAIN TEST --cpu-minutes 32 --threads 1
    dasl evaluate samples TEST --model RUN

TRAIN and TEST are datasets of `dasl import voi` of different patients. The U-Net sees patches of 48^3
voxels around a nodule, shifted, flipped, brightened and noisy; Dice and cross-entropy; Adam with
warm-up and a cosine over the processor time given (--cpu-minutes, of this process). On the test
nodules, with the place given: the patch around it, the component nearest to the patch's middle,
Dice against the consensus on the dataset's grid, without and with the mean over the 8 mirror images,
and of what lies in the reference's box. --weights FILE keeps the network, or tests the one there.
"""

import argparse
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import zarr
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from scipy import ndimage

PATCH = 48
BATCH = 4
REACH = 10  # voxels that a training patch is shifted at most
PEAK = 2e-3  # learning rate
WINDOW = -1200.0, 600.0


def nodules(root):
    """(patch of CT and mask with room to shift, [z, y, x] each, voxels, box in it) of every nodule."""
    found = []
    room = PATCH + 2 * REACH
    for path in sorted(root.glob("scans/*/scan.json")):
        record = json.loads(path.read_text())
        if record["whole"]:
            continue
        ct = np.asarray(zarr.open_array(path.parent / "ct", mode="r"))
        labels = np.asarray(zarr.open_array(path.parent / "labels", mode="r"))
        for nodule in record["nodules"]:
            box = zip(nodule["box_start"], nodule["box_shape"])
            start = [first + size // 2 - room // 2 for first, size in box]
            image = np.full((room,) * 3, -1024, np.int16)
            mask = np.zeros((room,) * 3, bool)
            inside = [slice(max(s, 0), min(s + room, n)) for s, n in zip(start, ct.shape)]
            to = tuple(slice(i.start - s, i.stop - s) for i, s in zip(inside, start))
            image[to] = ct[tuple(inside)]
            mask[to] = labels[tuple(inside)] == nodule["label"]
            voxels = int((labels == nodule["label"]).sum())
            box = zip(start, nodule["box_start"], nodule["box_shape"])
            box = tuple(slice(first - s, first + size - s) for s, first, size in box)
            found.append((image, mask, voxels, box))
    return found


def normalised(hu):
    low, high = WINDOW
    return 2 * (np.clip(hu, low, high) - low) / (high - low) - 1


def training_patch(pool, rng):
    image, mask, _, _ = pool[rng.integers(len(pool))]
    start = rng.integers(0, 2 * REACH + 1, 3)
    at = tuple(slice(s, s + PATCH) for s in start)
    hu = image[at].astype(np.float32)
    tissue = hu > -1024
    hu = hu + tissue * (rng.uniform(-30, 30) + rng.uniform(0, 15) * rng.standard_normal(hu.shape))
    patch, target = normalised(hu), mask[at]
    flips = [axis for axis in range(3) if rng.random() < 0.5]
    return np.flip(patch, flips).astype(np.float32), np.flip(target, flips).astype(np.float32)


def tensor(patches):
    return torch.from_numpy(np.stack(patches)[:, None].copy())


def train(network, pool, seconds, rng):
    loss_of = DiceCELoss(sigmoid=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=1e-3)
    begin, step, shown = time.process_time(), 0, 0.0
    while (spent := time.process_time() - begin) < seconds:
        share = spent / seconds
        rate = PEAK * min(1.0, (step + 1) / 50) * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        for group in optimiser.param_groups:
            group["lr"] = rate
        images, masks = zip(*(training_patch(pool, rng) for _ in range(BATCH)))
        loss = loss_of(network(tensor(images)), tensor(masks))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if spent - shown > 60:
            shown = spent
            print(f"{spent / 60:5.1f} min, {step} steps, loss {loss.item():.3f}", flush=True)
    return step


def outline(network, patch, flips):
    """Probabilities, mean over mirror images."""
    total = np.zeros(patch.shape)
    for axes in flips:
        mirrored = np.flip(patch, axes)
        out = network(tensor([mirrored.astype(np.float32)])).sigmoid()[0, 0].numpy()
        total += np.flip(out, axes)
    return total / len(flips)


def dice(probability, mask, voxels):
    parts, count = ndimage.label(probability >= 0.5)
    if count == 0:
        return 0.0
    middle = np.array(mask.shape) / 2 - 0.5
    at = np.argwhere(parts > 0)
    nearest = at[((at - middle) ** 2).sum(1).argmin()]
    own = parts == parts[tuple(nearest)]
    return 2 * (own & mask).sum() / (own.sum() + voxels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--cpu-minutes", type=float, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    network = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        channels=(16, 32, 64, 128),
        strides=(2, 2, 2),
        num_res_units=2,
    )
    pool, test = nodules(args.train), nodules(args.test)
    count = sum(p.numel() for p in network.parameters())
    print(f"{len(pool)} nodules to train on, {len(test)} to test, {count:,} parameters", flush=True)
    if args.weights and args.weights.exists():
        network.load_state_dict(torch.load(args.weights))
    else:
        print(f"{train(network, pool, 60 * args.cpu_minutes, rng)} steps", flush=True)
        if args.weights:
            torch.save(network.state_dict(), args.weights)

    network.eval()
    axes = [list(a) for n in range(4) for a in itertools.combinations(range(3), n)]
    core = tuple(slice(REACH, REACH + PATCH) for _ in range(3))
    with torch.no_grad():
        for name, flips in (("patch alone", axes[:1]), ("8 mirror images", axes)):
            found = []
            for image, mask, voxels, box in test:
                patch = normalised(image[core].astype(np.float32))
                own = outline(network, patch, flips)
                inside = np.zeros(image.shape, bool)
                inside[box] = True
                boxed = np.where(inside[core], own, 0)
                found.append([dice(p, mask[core], voxels) for p in (own, boxed)])
            for figures, place in zip(np.array(found).T, ("", ", in the reference's box")):
                print(
                    f"{name}{place}: Dice {figures.mean():.3f} +- {figures.std(ddof=1):.3f}, "
                    f"median {np.median(figures):.3f}, {len(figures)} nodules"
                )


if __name__ == "__main__":
    main()
