"Run the tests of NIR with the newest simulators, beside the pinned ones: prints versions and outcome; ends well in any case."
import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = 'norse', 'spikingjelly', 'snntorch', 'sinabs', 'nir', 'nirtorch'
TESTS = 'tests/test_nir.py', 'tests/test_nir_graphs.py', 'tests/test_spikingjelly.py', 'tests/test_snntorch.py'


def pinned(text):
    "Versions of a lock file by name"
    return dict(re.findall(r'^([\w.-]+)==([^\s;]+)', text, re.MULTILINE))


def installed(folder):
    "Versions in a folder by name"
    return {d.metadata['Name'].lower(): d.version for d in distributions(path=[str(folder)])}


def ran(*call, **env):
    "How a command ended, and what it said last"
    p = subprocess.run(call, cwd=ROOT, env=os.environ | env, capture_output=True, text=True)
    lines = (p.stdout + p.stderr).strip().splitlines() or ['nothing said']
    return p.returncode, lines[-1], [line for line in lines if line.startswith(('FAILED', 'ERROR'))]


def compared(folder):
    "One line for each tool, and a line of what came out"
    call = sys.executable, '-m', 'pip', 'install', '-qq', '--no-deps', '--upgrade', '--target', str(folder), *TOOLS
    code, last, _ = ran(*call)
    if code:
        return [f'warning: the newest simulators could not be installed: {last}']
    old = pinned((ROOT/'requirements-peers.lock').read_text()) | pinned((ROOT/'requirements.lock').read_text())
    new = installed(folder)
    said = [f'{t:14}{old.get(t, "not pinned"):14}{new.get(t, "none")}' for t in TOOLS]
    if all(old.get(t) == new.get(t) for t in TOOLS):
        return [*said, 'the newest are the pinned ones, which `make test` runs']
    code, last, failed = ran(sys.executable, '-m', 'pytest', '-q', *TESTS, PYTHONPATH=f'{folder}{os.pathsep}{ROOT}')
    return [*said, *failed, f'warning: with the newest, {last}' if code else f'with the newest: {last}']


if __name__ == '__main__':
    print(f'{"":14}{"pinned":14}newest', *compared(ROOT/'build'/'latest'), sep='\n')
