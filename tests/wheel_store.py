"In the venv of the wheel: keep what the torch network of a run does on its test samples. usage: wheel_store.py RUN OUT"
import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import quarantion
from quarantion.kernels import compiled
from quarantion.train.job import load_data, restored, settings, test_batches

run,out = map(Path, sys.argv[1:])
assert 'site-packages' in Path(quarantion.__file__).parts, quarantion.__file__
assert compiled() and all(compiled().values()), 'the wheel lacks compiled kernels'
for dev in 'nbdev', 'pytest', 'hypothesis', 'jupyterlab': assert importlib.util.find_spec(dev) is None, f'{dev} is installed'

cfg = settings(run)
split = load_data(cfg)
_,q = restored(run, split)
x,_ = next(iter(test_batches(cfg, split)))
arrays = dict(x=x.numpy())
for i,r in enumerate(q.eval().integers(x)): arrays |= {f'spk{i}': r.spk.numpy().astype(np.uint8), f'mem{i}': r.mem.numpy().astype(np.int32)}
out.mkdir()
shutil.copy(run/'integer.safetensors', out)
np.savez(out/'stored.npz', **arrays)
