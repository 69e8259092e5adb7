"""Do runs still give the same bytes? `same.py record FILE` before a change of structure, `same.py compare FILE` after.

A record holds, for runs on the digits (every preset, some seeds), the SHA-256 of `integer.safetensors` and of each
tensor of `model.safetensors`. Bytes depend on the machine and its torch, so a record is compared where it was made,
and is not kept in the project."""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PRESETS = 'float','int8','int4','nonary','ternary','mint2','mint4','tcq4','current8','mixed'
MORE = (('--neurons','synaptic'), ('--neurons','recurrent'), ('--neurons','recurrent_synaptic'),
        ('--learn','beta,threshold,slope','--calibrate','round','--prune','.3','--distill','.3'))


def sha(b): return hashlib.sha256(b).hexdigest()[:20]


def tensors(path):
    "Kind, shape and digest of each tensor, by name"
    from safetensors.numpy import load_file
    return {k:[str(v.dtype), list(v.shape), sha(v.tobytes())] for k,v in sorted(load_file(path).items())}


def one(job):
    "What a run leaves: digests of its program and of its networks"
    policy,seed,more = job
    with tempfile.TemporaryDirectory() as d:
        cmd = [sys.executable,'-m','quarantion.cli','run','--policy',policy,'--seed',str(seed),*more,'--out',d,'--json']
        p = subprocess.run(cmd, capture_output=True, text=True, env=os.environ|dict(OMP_NUM_THREADS='1'))
        if p.returncode: return dict(failed=p.stderr.strip().splitlines()[-1])
        run = Path(json.loads(p.stdout)['run'])
        program = run/'integer.safetensors'
        digest = sha(program.read_bytes()) if program.exists() else None
        accuracy = json.loads(p.stdout)['test_accuracy']
        return dict(program=digest, model=tensors(run/'model.safetensors'), accuracy=accuracy)


def renamed(name):
    "What a tensor of `model.safetensors` that was recorded before is called now"
    return name


def differing(old, new):
    "What is not the same of one run, in words"
    if 'failed' in old or 'failed' in new: # that says nothing
        return [f'failed: {old.get("failed")} / {new.get("failed")}']
    out = ['integer.safetensors']*(old['program']!=new['program'])
    theirs,ours = {renamed(k):v for k,v in old['model'].items()},new['model']
    return out+[f'model.safetensors: {k}' for k in sorted({*theirs, *ours}) if theirs.get(k)!=ours.get(k)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=['record','compare'])
    p.add_argument('file', type=Path)
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--policies', nargs='+', default=PRESETS)
    p.add_argument('--jobs', type=int, default=2, help='runs at a time, of one thread each')
    a = p.parse_args()
    jobs = [(q,s,()) for s in range(a.seeds) for q in a.policies]+[('nonary',0,m) for m in MORE]
    with ThreadPoolExecutor(a.jobs) as pool:
        got = {' '.join([q,str(s),*m]):r for (q,s,m),r in zip(jobs, pool.map(one, jobs))}
    lost = [f'{k}: failed: {r["failed"]}' for k,r in got.items() if 'failed' in r]
    if lost: sys.exit('\n'.join(lost))
    if a.what=='record':
        a.file.write_text(json.dumps(got, indent=1)+'\n')
        return print(f'{len(got)} runs recorded in {a.file}')
    was = json.loads(a.file.read_text())
    names = sorted({(k,renamed(k)) for r in was.values() if 'model' in r for k in r['model'] if renamed(k)!=k})
    moved = [f'  {k} → {n}' for k,n in names]
    print('names of tensors, before → now:', *moved, '' if names else '  all as they were', sep='\n')
    bad = 0
    for k,r in got.items():
        d = differing(was[k], r)
        bad += bool(d)
        print(f'{k:12} {"same" if not d else "DIFFERENT: "+"; ".join(d[:6])}')
    print(f'{len(got)-bad} of {len(got)} runs give the same bytes')
    sys.exit(bool(bad))


if __name__=='__main__': main()
