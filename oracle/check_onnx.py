"""Exported graphs against dasl's own outputs: ONNX's checker and ONNX Runtime.

    dasl export --out exported
    python oracle/check_onnx.py exported

The folder's example.safetensors holds a patch and what dasl makes of it. Both graphs are checked by
ONNX's own checker with shape inference, run in ONNX Runtime on the processor, and compared output
by output; the network also on a patch of another size and a batch of two, whose first half must be
what the patch alone gives. Fails if an output differs by more than 1e-4 of its largest value.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

TOLERANCE = 1e-4


def session(path):
    onnx.checker.check_model(str(path), full_check=True)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def difference(name, found, wanted):
    """Largest difference over the largest value."""
    if found.shape != wanted.shape:
        sys.exit(f"{name}: shape {found.shape} instead of {wanted.shape}")
    worst = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    print(f"{name:40} {str(found.shape):26} {worst:.1e}")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    network, mask = session(folder / "network.onnx"), session(folder / "mask.onnx")
    example = load_file(folder / "example.safetensors")
    worst = 0.0
    outputs = ["detection", "mask_features"]
    found = dict(zip(outputs, network.run(outputs, {"ct": example["ct"]})))
    for name in outputs:
        worst = max(worst, difference(name, found[name], example[name]))
    (found,) = mask.run(["mask"], {"mask_features": example["roi"]})
    worst = max(worst, difference("mask", found, example["mask"]))

    rng = np.random.default_rng(1)
    two = rng.uniform(-1100, 700, (2, 1, 48, 32, 64)).astype(np.float32)
    alone = network.run(outputs, {"ct": two[:1]})
    for name, both, one in zip(outputs, network.run(outputs, {"ct": two}), alone):
        worst = max(worst, difference(f"{name}, first of two of another size", both[:1], one))
    metadata = network.get_modelmeta().custom_metadata_map
    print(f"metadata {metadata}")
    if worst > TOLERANCE:
        sys.exit(f"not the same: {worst:.1e}")


if __name__ == "__main__":
    main()
