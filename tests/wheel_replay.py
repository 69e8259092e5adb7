"In a venv without torch: the saved network does what was stored. usage: wheel_replay.py OUT"
import importlib.util
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
from quarantion.kernels import compiled
from quarantion.runtime import load

for absent in 'torch', 'snntorch', 'sklearn', 'matplotlib': assert importlib.util.find_spec(absent) is None, f'{absent} is installed'
assert compiled() and all(compiled().values()), 'the wheel lacks compiled kernels'
assert (files('quarantion')/'export/runtime.mjs').is_file() and (files('quarantion')/'export/runtime.d.mts').is_file()
out = Path(sys.argv[1])
net,stored = load(out/'integer.safetensors'),np.load(out/'stored.npz')
records = net.record(stored['x'])
for i,r in enumerate(records):
    np.testing.assert_array_equal(r.spk, stored[f'spk{i}'])
    np.testing.assert_array_equal(r.mem, stored[f'mem{i}'])
spk,mem = net(stored['x'])
np.testing.assert_array_equal(mem, records[-1].mem)
fired = sum(int(r.spk.sum()) for r in records)
assert fired and len(records)==len([k for k in stored.files if k.startswith('spk')])
print(f'without torch: {sum(r.spk.size for r in records):,} spikes compared, {fired:,} fired, 0 mismatches')
