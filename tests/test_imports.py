"A room imports only rooms below it, importing the package is quick and light, and every public name is where it is said to be."
import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import quarantion

ROOT = Path(quarantion.__file__).parent
LAYERS = list(quarantion.ROOMS) # from below
MODULES = sorted(p for p in ROOT.rglob('*.py') if p.name!='_modidx.py' and p!=ROOT/'__init__.py')
ROOMS = sorted(p.parent.name for p in ROOT.glob('*/__init__.py'))
HAVE = {p.stem for p in ROOT.glob('[!_]*.py')} | {p.parent.name for p in ROOT.glob('*/__init__.py')}


def imports(path):
    "The rooms that the module at `path` imports, wherever in it"
    package = ('quarantion', *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join([*package[:len(package)+1-node.level], *filter(None, [node.module])]) if node.level else node.module
            names = [f'{base}.{a.name}' for a in node.names] if base=='quarantion' else [base]
        else: continue
        for parts in (n.split('.') for n in names):
            if parts[0]=='quarantion' and len(parts)>1 and not parts[1].startswith('_'): yield parts[1]


def room(path): return path.relative_to(ROOT).parts[0].removesuffix('.py').replace('__main__', 'cli')


@pytest.mark.parametrize('path', MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_only_rooms_below(path):
    own = LAYERS.index(room(path))
    above = {r for r in imports(path) if LAYERS.index(r)>own}
    assert not above, f'{room(path)} may not import {above}'


def test_the_plan_has_the_rooms_that_there_are():
    assert HAVE=={*LAYERS} and all(says and len(says.split())<=12 for says in quarantion.ROOMS.values())


def test_imports_sees_every_form(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    (tmp_path/'nonary').mkdir()
    mod = tmp_path/'nonary/x.py'
    mod.write_text('import quarantion.quant\nfrom ..train.fit import a\nfrom .nits import b\nfrom quarantion import data\n'
                   'from .. import cli\ndef f(): from quarantion.spikes.neuron import c\nimport numpy')
    assert set(imports(mod))=={'quant', 'train', 'nonary', 'data', 'cli', 'spikes'}


def run(code):
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert not p.returncode, p.stderr
    return p.stdout.split()


def test_a_run_loads_no_compiler_and_no_scikit_learn(tmp_path):
    "They take seconds, more than a small training; a run needs neither"
    left = run('import sys\nfrom quarantion.cli import main\ntry: main(["run","--epochs","1","--qat-epochs","1","--hidden","8","--steps","4","--json","--out",'
               f'{str(tmp_path)!r}])\nexcept SystemExit as e: assert not e.code\n'
               'print(*[m for m in ("torch._dynamo","sympy","sklearn","scipy","matplotlib.pyplot") if m in sys.modules])')
    assert left[-1].endswith('}'), left



def test_import_is_quick():
    code = 'import time; t = time.perf_counter(); import quarantion; print(time.perf_counter() - t)'
    assert min(float(run(code)[0]) for _ in range(3)) < .2


@pytest.mark.parametrize('code', ['import quarantion', 'import quarantion.kernels.lif, quarantion.kernels.nonary',
                                  'from quarantion.runtime import load, IntegerNetwork', 'from quarantion.nonary import pack'])
def test_imports_no_torch(code): assert run(f'{code}; import sys; print("torch" in sys.modules)')==['False']


@pytest.mark.parametrize('name', ROOMS)
def test_room_holds_its_names(name):
    mod = importlib.import_module(f'quarantion.{name}')
    assert mod.__all__ and mod.__doc__
    for n in mod.__all__:
        value = getattr(mod, n)
        assert value.__module__.startswith(f'quarantion.{name}.'), n
        assert n in dir(mod)
    with pytest.raises(AttributeError, match='no_such_name'): mod.no_such_name


def test_front_door():
    assert all(getattr(quarantion, n) is not None for n in quarantion.__all__)
    for n in 'from_snntorch prepare preset lower verify load'.split(): assert callable(getattr(quarantion, n))
    assert quarantion.prepare is importlib.import_module('quarantion.quant.network').prepare


@pytest.mark.parametrize('name', ROOMS)
def test_no_public_name_is_that_of_a_module(name):
    stems = {p.stem for p in (ROOT/name).glob('*.py')}
    assert not stems & set(getattr(importlib.import_module(f'quarantion.{name}'), '__all__', ()))
