"""Measure what README and the site show. Accuracies: each policy and seed is one `quarantion run`; results go to nbs/measured/NAME.json.

    python tools/measure.py digits                                    # 5 seeds, 4 policies, on the CPU
    python tools/measure.py time                                      # the default job, five times
    python tools/measure.py bench                                     # every benchmark, or those named after it
    python tools/measure.py break-even                                # the constants by which the runtime chooses, into its notebook
    python tools/measure.py mnist --jobs 5 -- --data-dir FOLDER --device cuda
"""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

JOBS = dict(digits=['--data','digits'], mnist='--data mnist --hidden 1000 --epochs 10 --qat-epochs 8 --batch 256 --lr 0.0015'.split())


MEASURED = Path(__file__).parent.parent/'nbs'/'measured'


def cpu():
    try: return next(l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name'))
    except (OSError, StopIteration): return platform.processor() or platform.machine()


def one(args):
    with tempfile.TemporaryDirectory() as out:
        r = subprocess.run([sys.executable, '-m', 'quarantion.cli', 'run', *args, '--out', out, '--json'], capture_output=True, text=True)
        if r.returncode: raise SystemExit(f'{" ".join(args)}:\n{r.stderr}')
        row = json.loads(r.stdout) | dict(float_bytes=json.loads((next(Path(out).iterdir())/'result.json').read_text())['float_bytes'])
    row.pop('run')
    print(f"{row['policy']:8} seed {row['seed']}: float {row['float_accuracy']:.2%}, quantized {row['test_accuracy']:.2%}, {row['mismatches']} mismatches, {row['seconds']:.0f} s", flush=True)
    return row


def clock(times, path):
    "How long the default job takes, as a whole process"
    wall = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            subprocess.run([sys.executable, '-m', 'quarantion.cli', 'run', '--out', out], capture_output=True, check=True)
            wall.append(round(time.perf_counter()-start, 2))
    path.write_text(json.dumps(dict(command='quarantion run', machine=f'{cpu()}, {os.cpu_count()} cores', wall_s=wall), indent=1)+'\n')
    print(wall)


def bench(names, path):
    "Rows of each benchmark, kept as soon as they are there"
    from quarantion.cli import BENCHES
    for name in names or BENCHES:
        r = subprocess.run([sys.executable, '-m', 'quarantion.cli', 'bench', name, '--json'], stdout=subprocess.PIPE, text=True, check=True)
        d = json.loads(r.stdout)
        all = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(all | {d.pop('bench'): dict(command=f'quarantion bench {name}', **d)}, indent=1)+'\n')
        print(name, len(d['rows']), 'rows', flush=True)


def break_even(path):
    "Measure the constants, and write them into the notebook of the runtime; export it afterwards"
    from quarantion.bench.events import break_even
    found = ','.join(f'{v:.3g}' for v in break_even())
    text,n = re.subn(r'"_BREAK_EVEN = [^#]*#', f'"_BREAK_EVEN = {found} #', path.read_text())
    assert n==1, path
    path.write_text(text)
    print(f'_BREAK_EVEN = {found}')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('name', choices=[*JOBS, 'time', 'bench', 'break-even'])
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--policies', nargs='+', default=['int8','int4','nonary','ternary'])
    p.add_argument('--jobs', type=int, default=1, help='runs at a time')
    p.add_argument('--out', type=Path, help='file to write')
    a,more = p.parse_known_args()
    more = [m for m in more if m!='--']
    if a.name=='break-even': return break_even(MEASURED.parent/'runtime'/'network.ipynb')
    if a.name=='bench': return bench(more, a.out or MEASURED/'bench.json')
    if a.name=='time': return clock(a.seeds, a.out or MEASURED/'time.json')
    runs = [[*JOBS[a.name], '--policy', q, '--seed', str(s), *more] for s in range(a.seeds) for q in a.policies]
    import torch
    where = torch.cuda.get_device_name() if 'cuda' in more else f'{cpu()}, {torch.get_num_threads()} threads'
    shown = [m for i,m in enumerate(more) if m!='--data-dir' and (i==0 or more[i-1]!='--data-dir')]
    path = a.out or MEASURED/f'{a.name}.json'
    path.parent.mkdir(exist_ok=True)
    rows = []
    with ThreadPoolExecutor(a.jobs) as pool:
        for job in as_completed([pool.submit(one, r) for r in runs]):
            rows = sorted([*rows, job.result()], key=lambda r: (a.policies.index(r['policy']), r['seed']))
            out = dict(command=' '.join(['quarantion','run',*JOBS[a.name],'--policy','POLICY','--seed','SEED',*shown]), seeds=a.seeds, machine=where, torch=torch.__version__, rows=rows)
            path.write_text(json.dumps(out, indent=1)+'\n') # after each run, so that none is lost
    print(path)


if __name__=='__main__': main()
