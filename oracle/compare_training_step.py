"""Do Nodule R-CNN's losses, gradients, SGD steps and outputs agree with PyTorch's?

From the repository root:

    pip install -r oracle/requirements-pytorch.txt
    cargo run --release -p dasl-net --example training_step -- tiny target/step-tiny.safetensors
    python oracle/compare_training_step.py target/step-tiny.safetensors

The network, its targets and its losses are written here from their definitions, with PyTorch's
own operations and autograd, and computed from the same weights and batch in 32 and in 64 bits.
dasl is held against the 64-bit values ("dasl"); PyTorch's own 32-bit error beside it ("torch")
tells rounding from error. Errors are |a - b| / (|b| + floor), Euclidean over a tensor; all is
printed that is over its bound and over TIMES_TORCH times PyTorch's own error, and the worst of
each group; exits 1 if anything is over.

- Gradients: floor 1e-5 of the norm of all gradients together. None is zero by construction; the
  floor is for the mask branch's way up (up1, lateral1, smooth1, up0, smooth0), whose shifts get a
  few millionths of the whole. A shift (beta) sums over all voxels, and one ReLU input next to 0
  that rounds to the other side changes it by that voxel's whole gradient: what those voxels could
  change is taken off its error.
- Steps: what a step added to a tensor, so that decay, clipping and momentum show; floor 1e-4 of
  the tensor's norm, as a 32-bit weight can't say its last change more finely. The second step
  shows the momentum; by then the two trainings have drifted apart a little.
- Running statistics: 1e-5 tells the biased variance from the unbiased one.
- In use: features, head output, mask logits and best proposals with the running statistics.
"""

import argparse
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open

BOUND = {
    "target": 1e-6,
    "loss": 1e-4,
    "gradient": 1e-3,
    "step 1": 1e-3,
    "step 2": 1e-2,
    "running 1": 1e-5,
    "running 2": 1e-5,
    "in use": 1e-4,
}
TIMES_TORCH = 3
SHOWN = 5  # of each group at most
EPSILON = 1e-5  # of batch norm
KINK = 3e-6  # ReLU inputs this near to 0 may round to its other side
RUNNING_SHARE = 0.02  # of a new batch in the running statistics
STRIDE = 4  # voxels between head locations
POSITIVE_IOU, NEGATIVE_IOU = 0.5, 0.02


class NoduleRcnn:
    """DESIGN.md section 4, channels first; weights keep dasl's layout and are turned on use."""

    def __init__(self, weights, config):
        self.w = {k: v.clone() for k, v in weights.items()}
        self.layers = config["net"]["layers"]
        self.anchors = len(config["net"]["anchors_mm"])
        self.training = True
        self.kinks = {}
        for value in self.parameters().values():
            value.requires_grad_()

    def parameters(self):
        return {k: v for k, v in self.w.items() if ".running_" not in k}

    def norm(self, x, name):
        mean, variance = self.w[f"{name}.running_mean"], self.w[f"{name}.running_variance"]
        gamma, beta = self.w[f"{name}.gamma"], self.w[f"{name}.beta"]
        if not self.training:
            return F.batch_norm(x, mean, variance, gamma, beta, eps=EPSILON)
        with torch.no_grad():
            new_variance, new_mean = torch.var_mean(x, dim=(0, 2, 3, 4), correction=0)
            mean.lerp_(new_mean, RUNNING_SHARE)
            variance.lerp_(new_variance, RUNNING_SHARE)
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)

    def activated(self, x, name):
        x = self.norm(x, f"{name}.norm")
        out, near = F.relu(x), x.detach().abs() < KINK

        def watch(gradient):
            self.kinks[f"{name}.norm.beta"] = (gradient.abs() * near).sum((0, 2, 3, 4))

        if out.requires_grad:
            out.register_hook(watch)
        return out

    def conv(self, x, name):
        weight = self.w[f"{name}.weight"].permute(4, 3, 0, 1, 2)  # [c_out, c_in, k, k, k]
        return F.conv3d(x, weight, self.w.get(f"{name}.bias"), padding="same")

    def unit(self, x, name):
        return self.conv(self.activated(x, name), name)

    def up(self, x, name):
        weight = self.w[f"{name}.weight"].permute(0, 4, 1, 2, 3)  # [c_in, c_out, 2, 2, 2]
        return F.conv_transpose3d(self.activated(x, name), weight, stride=2)

    def dense(self, x, name, layers):
        for i in range(layers):
            x = torch.cat([x, self.unit(x, f"{name}.layers.{i}")], dim=1)
        return x

    def features(self, image):
        """[n, 1, z, y, x] -> P2 at a quarter of the size, P0 at the input's."""
        b = "backbone."
        stem = self.unit(self.conv(image, b + "stem"), b + "stem2")
        d1 = self.dense(F.max_pool3d(stem, 2), b + "dense1", self.layers[0])
        t1 = self.unit(d1, b + "transition1")
        d2 = self.dense(F.max_pool3d(t1, 2), b + "dense2", self.layers[1])
        t2 = self.unit(d2, b + "transition2")
        d3 = self.dense(F.max_pool3d(t2, 2), b + "dense3", self.layers[2])
        p2 = self.unit(self.up(d3, b + "up2") + self.unit(d2, b + "lateral2"), b + "smooth2")
        p1 = self.unit(self.up(p2, b + "up1") + self.unit(d1, b + "lateral1"), b + "smooth1")
        p0 = self.unit(self.up(p1, b + "up0") + stem, b + "smooth0")
        return p2, p0

    def detect(self, p2):
        """-> [n, z, y, x, anchors, 5]: logit, dz, dy, dx, log d."""
        out = self.unit(self.unit(p2, "detection.hidden"), "detection.output")
        return out.movedim(1, -1).unflatten(-1, (self.anchors, 5))

    def mask(self, roi):
        """[rois, c, z, y, x] -> logits [rois, z, y, x]."""
        for name in ("mask.first", "mask.second", "mask.output"):
            roi = self.unit(roi, name)
        return roi[:, 0]


def crops(volume, starts, edge):
    """Cubes of a [..., z, y, x] array."""
    return [volume[..., z : z + edge, y : y + edge, x : x + edge] for z, y, x in starts]


def targets(labels, edge):
    """Cubes and masks of a patch's nodules, cubes that its border cuts, and where crops start."""
    cubes, starts, masks, cut = [], [], [], []
    for label in range(1, int(labels.max()) + 1):
        inside = np.argwhere(labels == label)
        low, high = inside.min(0), inside.max(0)
        cube = np.append((low + high) / 2, (high - low + 1).mean())
        if (low == 0).any() or (high == np.array(labels.shape) - 1).any():
            cut.append(cube)
            continue
        start = np.clip(np.rint(cube[:3]) - edge // 2, 0, np.array(labels.shape) - edge).astype(int)
        cubes.append(cube)
        starts.append(start)
        masks.append(crops(labels == label, [start], edge)[0])
    return [np.array(a, dtype=float) for a in (cubes, masks, cut)] + [starts]


def anchor_cubes(config):
    """[anchors, 4]: centre z, y, x and edge in voxels, in the order of the head's output."""
    edges = np.array(config["net"]["anchors_mm"]) / config["net"]["spacing_mm"]
    at = (STRIDE - 1) / 2 + STRIDE * np.arange(config["train"]["patch"] // STRIDE)
    return np.stack(np.meshgrid(at, at, at, edges, indexing="ij"), -1).reshape(-1, 4)


def overlap(a, b):
    """IoU of cubes [n, 4] and [m, 4] -> [n, m]."""
    a, b = a[:, None], b[None]
    low = np.maximum(a[..., :3] - a[..., 3:] / 2, b[..., :3] - b[..., 3:] / 2)
    high = np.minimum(a[..., :3] + a[..., 3:] / 2, b[..., :3] + b[..., 3:] / 2)
    shared = np.clip(high - low, 0, None).prod(-1)
    return shared / (a[..., 3] ** 3 + b[..., 3] ** 3 - shared)


def detection_loss(out, anchors, cubes, cut, hard):
    """Objectness and box loss of one patch; `out` is [anchors, 5]."""
    iou = overlap(anchors, cubes) if len(cubes) else np.zeros((len(anchors), 1))
    owner, iou_most = iou.argmax(1), iou.max(1)
    positive = iou_most >= POSITIVE_IOU
    for nodule in range(len(cubes)):
        best = iou[:, nodule].argmax()
        positive[best], owner[best] = True, nodule
    negative = (iou_most < NEGATIVE_IOU) & ~positive
    if len(cut):
        negative &= overlap(anchors, cut).max(1) == 0
    logits = out[:, 0]
    hardest = logits[torch.from_numpy(negative)].topk(hard + 1).values
    margin = (hardest[-2] - hardest[-1]).item()
    loss = F.binary_cross_entropy_with_logits(hardest[:-1], torch.zeros_like(hardest[:-1]))
    if not len(cubes):
        return loss, None, margin
    own, found = cubes[owner[positive]], anchors[positive]
    delta = np.concatenate(
        [(own[:, :3] - found[:, :3]) / found[:, 3:], np.log(own[:, 3:] / found[:, 3:])], axis=1
    )
    hits = out[torch.from_numpy(positive)]
    loss = loss + F.binary_cross_entropy_with_logits(hits[:, 0], torch.ones_like(hits[:, 0]))
    return loss, F.smooth_l1_loss(hits[:, 1:], torch.from_numpy(delta).to(hits)), margin


def dice_loss(logits, mask):
    """1 + Eq. (1), mean over RoIs [rois, z, y, x]."""
    p, y = logits.sigmoid().flatten(1), mask.flatten(1)
    return (1 - 2 * (p * y).sum(1) / (p.sum(1) + y.sum(1))).mean()


def losses(network, batch, config):
    """Terms by name as in the file; `margin` says how clear the choice of hard negatives was."""
    p2, p0 = network.features(batch["images"])
    out = network.detect(p2).flatten(1, 4)
    edge, hard = config["train"]["mask_crop"], config["train"]["hard_negatives"]
    rois = [roi for i, t in enumerate(batch["targets"]) for roi in crops(p0[i], t[3], edge)]
    logits = network.mask(torch.stack(rois))
    anchors = anchor_cubes(config)
    terms = {"class": [], "boxes": [], "mask": [], "margin": []}
    total = 0
    for i, (cubes, masks, cut, starts) in enumerate(batch["targets"]):
        objectness, boxes, margin = detection_loss(out[i], anchors, cubes, cut, hard)
        terms["class"].append(objectness)
        terms["margin"].append(margin)
        sample = objectness
        if len(cubes):
            mask = dice_loss(logits[: len(cubes)], torch.from_numpy(masks).to(logits))
            logits = logits[len(cubes) :]
            terms["boxes"].append(boxes)
            terms["mask"].append(mask)
            sample = sample + boxes + mask
        total = total + sample / len(batch["targets"])
    terms["total"] = [total]
    return terms


def optimiser(network, train):
    """SGD that decays what has more than one dimension: no norm, no bias."""
    groups = {True: [], False: []}
    for value in network.parameters().values():
        groups[value.dim() > 1].append(value)
    return torch.optim.SGD(
        [
            {"params": groups[True], "weight_decay": train["weight_decay"]},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=train["learning_rate"],
        momentum=train["momentum"],
    )


def proposals(detections, config, count):
    """The best proposals of a patch, [count, 5]: centre z, y, x, edge, score."""
    anchors = torch.from_numpy(anchor_cubes(config)).to(detections)
    logit, delta = detections[:, 0], detections[:, 1:]
    center = anchors[:, :3] + delta[:, :3] * anchors[:, 3:]
    edge = anchors[:, 3] * delta[:, 3].clamp(-2, 2).exp()
    best = logit.topk(count).indices
    return torch.cat([center, edge[:, None], logit.sigmoid()[:, None]], dim=1)[best]


def compute(file, config, dtype):
    """Everything that the file holds, computed anew, by the file's names."""
    weights = {k[8:]: v.to(dtype) for k, v in file.items() if k.startswith("weights/")}
    count = sum(name.startswith("image/") for name in file)
    edge = config["train"]["mask_crop"]
    batch = {
        "images": torch.stack([file[f"image/{i}"] for i in range(count)])[:, None].to(dtype),
        "targets": [targets(file[f"labels/{i}"].numpy(), edge) for i in range(count)],
    }
    out = {}
    for i, (cubes, masks, _, starts) in enumerate(batch["targets"]):
        if len(cubes):
            for name, value in (("cubes", cubes), ("mask", masks), ("roi", np.array(starts))):
                out[f"{name}/{i}"] = torch.from_numpy(value)

    network = NoduleRcnn(weights, config)
    network.training = False
    with torch.no_grad():
        p2, p0 = network.features(batch["images"])
        detections = network.detect(p2)
        masks = network.mask(torch.stack(crops(p0[0], batch["targets"][0][3], edge)))
        out["infer/p2"], out["infer/p0"] = p2.movedim(1, -1), p0.movedim(1, -1)
        out["infer/detections"], out["infer/masks"] = detections, masks[..., None]
        count = len(file["infer/proposals"])
        out["infer/proposals"] = proposals(detections[0].reshape(-1, 5), config, count)

    network.training = True
    sgd = optimiser(network, config["train"])
    for step in ("after", "second"):
        sgd.zero_grad()
        terms = losses(network, batch, config)
        terms["total"][0].backward()
        margin = min(terms.pop("margin"))
        if step == "after":
            out |= {f"loss/{k}": torch.stack(v).detach() for k, v in terms.items()}
            out |= {f"kink/{k}": v for k, v in network.kinks.items()}
            out |= {f"gradient/{k}": v.grad.clone() for k, v in network.parameters().items()}
        norm = torch.nn.utils.clip_grad_norm_(
            network.parameters().values(), config["train"]["clip_norm"]
        )
        sgd.step()
        out |= {f"{step}/{k}": v.detach().clone() for k, v in network.w.items()}
        print(
            f"{dtype}, {step}: loss {terms['total'][0].item():.6f}, gradient norm {norm:.4f}, "
            f"hard negatives chosen by {margin:.1e}"
        )
    return out


def quantities(values):
    """What is compared, by group and name: its value, its floor, how far a kink can move it."""
    sizes = [v.double().norm() for k, v in values.items() if k.startswith("gradient/")]
    gradient_floor = 1e-5 * torch.stack(sizes).norm()
    before = {"after": "weights", "second": "after"}
    out = {}
    for name, value in values.items():
        kind, rest = name.split("/", 1)
        value, floor, kink = value.double(), 0.0, 0.0
        if kind in before and ".running_" in name:
            group = f"running {1 + list(before).index(kind)}"
        elif kind in before:
            group, floor = f"step {1 + list(before).index(kind)}", 1e-4 * value.norm()
            value = value - values[f"{before[kind]}/{rest}"].double()
        elif kind == "gradient":
            group, floor, kink = kind, gradient_floor, values.get(f"kink/{rest}", 0.0)
        elif kind in ("loss", "infer"):
            group = {"loss": "loss", "infer": "in use"}[kind]
        elif kind in ("cubes", "mask", "roi"):
            group = "target"
        else:
            continue
        out[group, rest if group != "target" else name] = value, floor, kink
    return out


def excess(difference, allowed):
    """What of a difference is not allowed, element by element."""
    return (difference.abs() - allowed).clamp(min=0)


def errors(found, truth):
    """Error of each quantity by group and name."""
    if found.keys() != truth.keys():
        sys.exit(f"not on both sides: {sorted(found.keys() ^ truth.keys())}")
    return {
        key: (excess(found[key][0] - value, kink).norm() / (value.norm() + floor)).item()
        for key, (value, floor, kink) in truth.items()
    }


def report(dasl, torch_32):
    """Prints the worst of each group; whether all are within their bounds."""
    print(f"\n{'':12}{'':52}{'dasl':>12}{'torch':>12}{'bound':>12}")
    failed = 0
    for group, bound in BOUND.items():
        rows = [key for key in dasl if key[0] == group]
        rows.sort(key=lambda key: -np.nan_to_num(dasl[key], nan=np.inf))
        allowed = {key: max(bound, TIMES_TORCH * torch_32[key]) for key in rows}
        over = sum(not dasl[key] <= allowed[key] for key in rows)
        failed += over
        for key in rows[: max(SHOWN, over)]:
            mark = "" if dasl[key] <= allowed[key] else " !"
            print(f"{group:12}{key[1]:52}{dasl[key]:12.1e}{torch_32[key]:12.1e}{bound:12.0e}{mark}")
        median = np.median([[dasl[key], torch_32[key]] for key in rows], axis=0)
        summary = f"median of {len(rows)}, {over} over the bound"
        print(f"{group:12}{summary:52}{median[0]:12.1e}{median[1]:12.1e}")
    return failed == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="what the example training_step wrote")
    with safe_open(parser.parse_args().file, "pt") as opened:
        config = json.loads(opened.metadata()["config"])
        file = {name: opened.get_tensor(name) for name in opened.keys()}
    weights = {k: v for k, v in file.items() if k.startswith("weights/")}
    truth = quantities(weights | compute(file, config, torch.float64))
    torch_32 = quantities(weights | compute(file, config, torch.float32))
    sys.exit(0 if report(errors(quantities(file), truth), errors(torch_32, truth)) else 1)


if __name__ == "__main__":
    main()
