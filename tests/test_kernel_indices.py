"Kernels look up no index below 0: compiled without wraparound, numpy 2.5 refuses it, and typed memory is read before its begin"
import re
from pathlib import Path

import quarantion

KERNELS = sorted(f for f in (Path(quarantion.__file__).parent/'kernels').rglob('*.p[yx]*') if f.name not in ('__init__.py','isa.py') and 'cuda' not in f.parts)


def test_no_index_is_negative():
    assert len(KERNELS)>30
    found = {f.name:re.findall(r'\w+\[-\d+\]', f.read_text()) for f in KERNELS if f.suffix in ('.py','.pxd')}
    assert not {k:v for k,v in found.items() if v}
