"Write `requirements.lock`: the versions in this environment, but for the package itself, pip, build tags (`+cpu`) and what torch brings for a GPU"
import re
from importlib.metadata import distributions
from pathlib import Path

out = {d.name.lower().replace('_', '-'): d.version.split('+')[0] for d in distributions()}
out = {n: v for n, v in out.items() if not re.match(r'quarantion$|pip$|nvidia-|cuda-|triton', n)}
Path('requirements.lock').write_text('# make lock writes this file\n' + ''.join(f'{n}=={v}\n' for n, v in sorted(out.items())))
print(f'requirements.lock: {len(out)} packages')
