"""SimCLR of another maintained peer, stable-pretraining, as its README runs it on CIFAR-10, against the loop here.

Its own part: transforms on PIL images in worker processes, forward, loss, LARS, Lightning's trainer; ResNet-18 with the
small stem, three-layer projector. Left out to its favour: both online probes and the logger. Its README asks for
`16-mixed`, which the CPU does not have: bf16 takes its place. It wants an environment of its own, so it runs in a
process of its own: `PRETEXTBENCH_SPT` names the interpreter (`uv venv spt; uv pip install --python spt/bin/python
stable-pretraining torch torchvision`).
"""

import os
import subprocess
from collections.abc import Iterator

from benchmarks.harness import Measure, Missing, ratio, seconds, spread
from benchmarks.loops import Case, looped, pixels, training
from pretextbench.train.batches import Batches

CASE, STEPS, WORKERS = Case("simclr", "resnet18", 64), 6, 2
CHILD = """
import time, warnings
warnings.filterwarnings("ignore")
import lightning, numpy as np, torch
import stable_pretraining as spt
from PIL import Image
from stable_pretraining import forward
from stable_pretraining.data import transforms as t
from torch import nn

def view(low, *more):
    jitter = t.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8)
    first = (t.RGB(), t.RandomResizedCrop((32, 32), scale=(low, 1.0)), t.RandomHorizontalFlip(p=0.5), jitter)
    return t.Compose(*first, t.RandomGrayscale(p=0.2), *more, t.ToImage(**spt.data.static.CIFAR10))

class Photos(torch.utils.data.Dataset):
    def __init__(self, count):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        self.photos = [Image.fromarray(one) for one in pixels]
    def __len__(self):
        return len(self.photos)
    def __getitem__(self, index):
        return self.photos[index], 0

class Clock(lightning.Callback):
    at = []
    def on_train_batch_end(self, *_):
        self.at.append(time.perf_counter())

views = t.MultiViewTransform([view(0.2), view(0.08, t.RandomSolarize(threshold=0.5, p=0.2))])
photos = spt.data.FromTorchDataset(Photos(BATCH * (STEPS + 2)), names=["image", "label"], transform=views)
loader = torch.utils.data.DataLoader(photos, batch_size=BATCH, num_workers=WORKERS, drop_last=True, shuffle=True)
backbone = spt.backbone.from_torchvision("resnet18", low_resolution=True)
backbone.fc = nn.Identity()
sizes, layers = (512, 2048, 2048, 256), []
for a, b in zip(sizes, sizes[1:]):
    layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(inplace=True)]
optimizer = {"type": "LARS", "lr": 5, "weight_decay": 1e-6}
optim = {"optimizer": optimizer, "scheduler": {"type": "LinearWarmupCosineAnnealing"}, "interval": "epoch"}
loss = spt.losses.NTXEntLoss(temperature=0.5)
projector = nn.Sequential(*layers[:-2])
module = spt.Module(backbone=backbone, projector=projector, forward=forward.simclr, simclr_loss=loss, optim=optim)
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, limit_val_batches=0)
trainer = lightning.Trainer(max_steps=STEPS, callbacks=[Clock()], precision="bf16-mixed", **quiet)
spt.Manager(trainer=trainer, module=module, data=spt.data.DataModule(train=loader, val=None))()
print("seconds per step", float(np.median(np.diff(Clock.at)[1:])))
"""


def measure(rounds: int) -> Iterator[Measure]:
    """Images per second of both, in turn, and the ratio."""
    python = os.environ.get("PRETEXTBENCH_SPT")
    if not python:
        raise Missing("stable-pretraining: PRETEXTBENCH_SPT names no interpreter that has it")
    run = training(CASE, images := pixels(CASE))
    library = looped(run, Batches(images, run.fabric.device, "auto"), 2)
    library()  # to warm up
    pairs = [(peer(python), seconds(library) / 2) for _ in range(min(rounds, 4))]
    peer_times, library_times = ([pair[i] for pair in pairs] for i in (0, 1))
    yield spread(f"{CASE}: stable-pretraining", [CASE.batch / s for s in peer_times], "images/s")
    yield spread(f"{CASE}: ours", [CASE.batch / s for s in library_times], "images/s")
    yield ratio(f"{CASE}: ours", peer_times, library_times, "times stable-pretraining's recipe")


def peer(python: str) -> float:
    """Seconds per step, the median after two."""
    code = f"BATCH, STEPS, WORKERS = {CASE.batch}, {STEPS}, {WORKERS}\n{CHILD}"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"stable-pretraining did not run: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.rpartition("seconds per step")[2])
