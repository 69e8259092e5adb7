"""What CI checks, in stages: `make test`, or `python3 tools/check.py STAGE…` for some of them.

Every stage runs in this checkout with `.venv`, and fails the whole.
So does a file of the tree that changed on the way."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT/'.venv/bin'
ENV = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL')} | dict(
    PYTHONDONTWRITEBYTECODE='', MPLBACKEND='Agg', PIP_DISABLE_PIP_VERSION_CHECK='1', PATH=f'{BIN}:{os.environ["PATH"]}')


def run(*cmd, cwd=ROOT, quiet=False, **env):
    "Run `cmd`; where it is `quiet`, what it prints on stderr, and all of it if it fails, is shown afterwards"
    p = subprocess.run([str(c) for c in cmd], cwd=cwd, env=ENV|env, text=True, capture_output=quiet)
    if p.returncode: sys.exit(f'{p.stdout or ""}{p.stderr or ""}`{" ".join(map(str, cmd))}` ended with {p.returncode}')
    return p.stdout


def install(): run('make', 'install', 'tools')


def build(): run('make', 'build')


def sync():
    "In a copy: the library is what the notebooks export, and they are clean"
    with TemporaryDirectory() as d:
        copy = Path(d)/'copy'
        shutil.copytree(ROOT/'nbs', copy/'nbs', symlinks=True, ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
        for f in 'settings.ini', 'pyproject.toml', '_quarto.yml': shutil.copy(ROOT/f, copy)
        for f in (*ROOT.glob('quarantion/**/__init__.py'), ROOT/'quarantion/__main__.py'): # written by hand
            (copy/f.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(f, copy/f.relative_to(ROOT))
        run('nbdev_export', cwd=copy, PYTHONPATH=copy)
        run('nbdev_clean', cwd=copy, PYTHONPATH=copy)
        def files(root):
            found = [*root.glob('quarantion/**/*.py'), *root.glob('nbs/**/*.ipynb')]
            found = [p for p in found if '.ipynb_checkpoints' not in p.parts]
            return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}
        here,there = files(ROOT),files(copy)
    why = {f: 'no notebook exports it' if f not in there else 'not exported yet' if f not in here else
              'not clean: run nbdev_clean' if f.endswith('.ipynb') else
              'not what its notebook exports: run nbdev_export'
           for f in sorted({*here, *there}) if here.get(f)!=there.get(f)}
    if why: sys.exit('\n'.join(f'{f}: {w}' for f, w in why.items()))


def lint(): run('ruff', 'check', '--quiet', '--output-format', 'concise', 'quarantion', 'tests', 'tools', 'setup.py')


def ratchet(): run('python', 'tools/ratchet.py')


def notebooks(): run('nbdev_test', '--n_workers', '2', '--timing', OMP_NUM_THREADS='1')


TWO = '-n', '2', '--dist', 'loadfile', '--no-loadscope-reorder' # whole files, in the order of `tests/conftest.py`


def tests(): # small layers gain nothing from two threads, and lose much where a core is busy
    most = 'not browser and not soak'
    run('pytest', '-q', *TWO, '-m', most, '--durations=12', OMP_NUM_THREADS='1')


def made_wheel(d):
    "The wheel, made from the sdist in `d`; kernels that were compiled from the same text are not compiled again"
    run('python', '-m', 'build', '--sdist', '--no-isolation', '--outdir', d, quiet=True)
    sdist, = d.glob('*.tar.gz')
    shutil.unpack_archive(sdist, d, filter='data')
    src = d/sdist.name.removesuffix('.tar.gz')
    made_again = shutil.ignore_patterns('lib*', 'temp*', 'bdist*', 'native', 'built')
    shutil.copytree(ROOT/'build', src/'build', ignore=made_again)
    lib = src/f'build/lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}'
    for so in (ROOT/'quarantion').rglob('*.so'):
        (lib/so.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(so, lib/so.relative_to(ROOT))
    run('python', '-m', 'pip', 'wheel', '-qq', '--no-deps', '--no-build-isolation', '-w', d, src, quiet=True)
    whl, = d.glob('*.whl')
    return whl


def wheel():
    "The wheel does the main job without dev tools; and, when torch and most else is gone, runs a saved network"
    with TemporaryDirectory() as d:
        d = Path(d)
        whl = made_wheel(d)
        scripts = [shutil.copy(f, d) for f in (ROOT/'tests').glob('wheel_*.py')]
        assert scripts
        there = d/'venv/bin'
        run('python', '-m', 'venv', '--without-pip', d/'venv')
        def pip(*what): return run('python', '-m', 'pip', '--python', there/'python', *what, cwd=d, quiet=True)
        pip('install', '-qq', '--no-compile', '-c', ROOT/'requirements.lock', whl)
        short = '--epochs', '1', '--qat-epochs', '1', '--json', '--out', d/'runs'
        made = json.loads(run(there/'quarantion', 'run', *short, cwd=d, quiet=True))
        assert made['mismatches']==0 and made['spikes']>0, made
        run(there/'quarantion', 'verify', made['run'], cwd=d, quiet=True)
        run(there/'python', 'wheel_store.py', made['run'], d/'stored', cwd=d)
        run(there/'python', '-c', 'from quarantion.tables import measurement; measurement("tokens")', cwd=d) # for a tutorial
        keep = {'quarantion', 'numpy', 'safetensors', 'constriction', 'cython'}
        others = [p['name'] for p in json.loads(pip('list', '--format', 'json')) if p['name'].lower() not in keep]
        assert 'torch' in others
        pip('uninstall', '-qq', '-y', *others)
        run(there/'python', 'wheel_replay.py', d/'stored', cwd=d)


def docs(): run('python', 'tools/docs.py')


def browser(): run('pytest', '-q', *TWO, '-m', 'browser', '--durations=12')


def tree():
    "What git knows of the tree, contents included"
    out = [subprocess.run(['git', *c], cwd=ROOT, capture_output=True, check=True).stdout for c in
           (['status', '--porcelain'], ['diff'], ['ls-files', '--others', '--exclude-standard', '-z'])]
    files = [f for f in out[2].decode().split('\0') if f and (ROOT/f).is_file()]
    others = {f: hashlib.sha256((ROOT/f).read_bytes()).hexdigest() for f in files}
    return out[0].decode(), out[1], others


def main(names):
    every = install, build, sync, lint, ratchet, notebooks, tests, wheel, docs, browser
    stages = {f.__name__: f for f in every}
    unknown = ', '.join(sorted(set(names)-set(stages)))
    if unknown: sys.exit(f'no stage {unknown}; there are {", ".join(stages)}')
    before,table,began = tree(),[],time.perf_counter()
    if os.environ.get('CI') and before[0]: sys.exit(f'CI starts from a clean tree, but:\n{before[0]}')

    def stage(name, f):
        print(f'\n== {name}', flush=True)
        start,ok = time.perf_counter(),True
        try: f()
        except (SystemExit, AssertionError, OSError, ValueError) as e:
            ok = False
            print(e, flush=True)
        table.append((name, time.perf_counter()-start, ok))
        return ok

    def unchanged():
        after = tree()
        if after!=before:
            new = sorted(set(after[0].splitlines())-set(before[0].splitlines())) or ['(a file that differed before)']
            sys.exit('The checks changed the tree; what they made should be committed:\n' + '\n'.join(new))

    tried = None
    with ThreadPoolExecutor(1) as beside: # the wheel is made and tried while the site is built: neither fills two cores
        for name, f in stages.items():
            if names and name not in names: continue
            if name=='wheel': tried = beside.submit(stage, name, f)
            elif not stage(name, f) and name in ('install', 'build'): break
            if name=='docs': beside.shutdown()
    if tried: tried.result() # raises what no stage expects
    stage('tree', unchanged)

    print(f'\n{"stage":<12}{"seconds":>9}')
    for name, seconds, ok in table: print(f'{name:<12}{seconds:>9.1f}  {"" if ok else "FAILED"}'.rstrip())
    print(f'{"all":<12}{time.perf_counter()-began:>9.1f}')
    bad = sum(not ok for *_, ok in table)
    print(f'stages: {len(table)-bad} passed, {bad} failed')
    sys.exit(bool(bad))


if __name__ == '__main__': main(sys.argv[1:])
