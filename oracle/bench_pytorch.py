"""Seconds and memory of the network in PyTorch and OpenVINO beside dasl's, same weights, same patch.

From the repository root, on a machine that does nothing else:

    pip install -r oracle/requirements-bench.txt
    cargo run --release -- bench --network --export target/bench.safetensors
    python oracle/bench_pytorch.py target/bench.safetensors

`just bench-peers` does the last two. Every peer runs in a process of its own, so that its peak
memory is its own; the outputs of each are held against those in the file. Times are the median
of RUNS after two that don't count; training is the mean square of both outputs and its gradients.
"malloc" are the settings by which the C library keeps large blocks instead of giving them back.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from safetensors import safe_open

from compare_training_step import EPSILON, NoduleRcnn

RUNS = 5
TOLERANCE = 1e-3  # of an output's norm
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
PEERS = {
    "PyTorch": {},
    "PyTorch channels_last_3d": {},
    "PyTorch channels_last_3d, malloc": MALLOC,
    "OpenVINO f32": {},
}


class Network(torch.nn.Module, NoduleRcnn):
    """As a user of PyTorch would write it: weights in PyTorch's layout, ReLU in place."""

    def __init__(self, weights, config, layout):
        torch.nn.Module.__init__(self)
        self.layers = config["net"]["layers"]
        self.anchors = len(config["net"]["anchors_mm"])
        self.crop = config["train"]["mask_crop"]
        self.kernels, self.vectors = torch.nn.ParameterDict(), torch.nn.ParameterDict()
        for name, value in weights.items():
            key = name.replace(".", "/")
            if value.dim() == 5:
                up = ".up" in name
                value = value.permute(0, 4, 1, 2, 3) if up else value.permute(4, 3, 0, 1, 2)
                value = value.contiguous(memory_format=layout)
                self.kernels[key] = torch.nn.Parameter(value)
            else:
                trained = ".running_" not in name
                self.vectors[key] = torch.nn.Parameter(value.clone(), requires_grad=trained)

    def activated(self, x, name):
        v, at = self.vectors, f"{name}.norm.".replace(".", "/")
        mean, variance = v[at + "running_mean"], v[at + "running_variance"]
        gamma, beta = v[at + "gamma"], v[at + "beta"]
        return F.relu_(F.batch_norm(x, mean, variance, gamma, beta, self.training, 0.02, EPSILON))

    def conv(self, x, name):
        at = name.replace(".", "/")
        bias = self.vectors[at + "/bias"] if at + "/bias" in self.vectors else None
        kernel = self.kernels[at + "/weight"]
        return F.conv3d(x, kernel, bias, padding=kernel.shape[-1] // 2)

    def up(self, x, name):
        kernel = self.kernels[f"{name}.weight".replace(".", "/")]
        return F.conv_transpose3d(self.activated(x, name), kernel, stride=2)

    def forward(self, patch):
        p2, p0 = self.features(patch)
        start = (patch.shape[-1] - self.crop) // 2
        end = start + self.crop
        roi = p0[:, :, start:end, start:end, start:end]
        return self.detect(p2), self.mask(roi)


def median_seconds(run):
    times = []
    for i in range(RUNS + 2):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[2:])


def peak_gb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def worst_error(outputs, expected):
    errors = []
    for found, truth in zip(outputs, expected, strict=True):
        found = torch.as_tensor(found).flatten()
        errors.append(((found - truth).norm() / truth.norm()).item())
    return max(errors)


def run_peer(peer, path, threads):
    """Prints one JSON line about one peer."""
    torch.set_num_threads(threads)
    with safe_open(path, "pt") as opened:
        config = json.loads(opened.metadata()["config"])
        file = {name: opened.get_tensor(name) for name in opened.keys()}
    layout = torch.channels_last_3d if "channels_last" in peer else torch.contiguous_format
    weights = {k[8:]: v for k, v in file.items() if k.startswith("weights/")}
    edge = round(len(file["patch"]) ** (1 / 3))
    patch = file["patch"].reshape(1, 1, edge, edge, edge).contiguous(memory_format=layout)
    network = Network(weights, config, layout)
    expected = [file["head"], file["mask"]]
    network.eval()
    result = {"peer": peer}
    if peer.startswith("OpenVINO"):
        import openvino

        model = openvino.convert_model(network, example_input=patch, input=[list(patch.shape)])
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.compile_model(model, "CPU", options)
        request, array = compiled.create_infer_request(), patch.numpy()
        result["error"] = worst_error(request.infer([array]).values(), expected)
        result["forward"] = median_seconds(lambda: request.infer([array]))
        result["forward_gb"] = peak_gb()
        print(json.dumps(result))
        return
    with torch.inference_mode():
        result["error"] = worst_error(network(patch), expected)
        result["forward"] = median_seconds(lambda: network(patch))
        result["forward_gb"] = peak_gb()
    network.train()

    def train():
        network.zero_grad()
        sum(out.square().mean() for out in network(patch)).backward()

    result["training"] = median_seconds(train)
    result["training_gb"] = peak_gb()
    print(json.dumps(result))


def measure(peer, path, threads):
    environment = os.environ | PEERS[peer] | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, path, "--peer", peer, "--threads", str(threads)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="what `dasl bench --export` wrote")
    parser.add_argument("--peer", choices=PEERS, help="only this one, as JSON")
    parser.add_argument("--threads", type=int, help="default: as many as dasl used")
    arguments = parser.parse_args()
    if arguments.peer:
        run_peer(arguments.peer, arguments.file, arguments.threads)
        return
    with safe_open(arguments.file, "pt") as opened:
        dasl = json.loads(opened.metadata()["bench"])
    threads = arguments.threads or dasl["threads"]
    rows = [dasl | {"peer": "dasl", "error": 0.0}]
    for peer in PEERS:
        print(f"timing {peer}", file=sys.stderr)
        rows.append(measure(peer, arguments.file, threads))
    print(f"one {dasl['edge']}^3 patch, {dasl['preset']}, {threads} threads; dasl/peer in brackets")
    print(f"{'':34}{'forward, s':>16}{'GB':>6}{'training, s':>16}{'GB':>6}{'error':>9}")
    for row in rows:
        cells = f"{row['peer']:34}"
        for name in ("forward", "training"):
            if name in row:
                ratio = dasl[name] / row[name]
                cells += f"{row[name]:9.3f} ({ratio:4.2f}){row[name + '_gb']:6.2f}"
            else:
                cells += f"{'-':>16}{'-':>6}"
        print(cells + f"{row['error']:9.0e}")
    if not all(row["error"] <= TOLERANCE for row in rows):
        sys.exit(f"an output differs by more than {TOLERANCE}")


if __name__ == "__main__":
    main()
