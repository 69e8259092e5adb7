"""The kernel tests on kernels that watch themselves.

Every read and write outside of an array, and arithmetic that C does not define, ends the run.
A copy of the package is compiled with gcc's address and undefined-behaviour sanitizers, for every level,
and tests/test_kernels.py runs on it. `--only scan,order` compiles and tests these modules alone;
all other arguments go to pytest."""
import argparse
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
# a left shift of a negative number is defined by gcc, and by C from 2023 on
WATCH = '-fsanitize=address,undefined -fno-sanitize=shift -fno-sanitize-recover=undefined'


def library(name):
    said = subprocess.run(['gcc', f'-print-file-name={name}'], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--only', default='', help='modules of kernels, with commas')
    said,rest = parser.parse_known_args()
    only = said.only.split(',') if said.only else []
    if only: rest += ['-k', ' or '.join(k for n in only for k in import_module(f'quarantion.kernels.{n}').__all__)]
    with TemporaryDirectory() as d:
        copy = Path(d)
        shutil.copytree(ROOT/'quarantion', copy/'quarantion', ignore=shutil.ignore_patterns('*.so', '__pycache__'))
        for f in 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE': shutil.copy(ROOT/f, copy)
        shutil.copytree(ROOT/'tests', copy/'tests', ignore=shutil.ignore_patterns('__pycache__'))
        flags = dict(CFLAGS=f'-g1 {WATCH}', LDFLAGS=WATCH, QUARANTION_KERNELS=said.only)
        build = subprocess.run([sys.executable, 'setup.py', '-q', 'build_ext', '--inplace'], cwd=copy,
                               capture_output=True, text=True, env=os.environ|flags)
        if build.returncode: sys.exit(build.stdout+build.stderr)
        watchers = f'{library("libasan.so")} {library("libubsan.so")}'
        env = os.environ | dict(LD_PRELOAD=watchers, PYTHONMALLOC='malloc', PYTHONPATH=str(copy),
                                ASAN_OPTIONS='detect_leaks=0', UBSAN_OPTIONS='print_stacktrace=1')
        # `child` tests start other processes on purpose without what these need; they read no arrays
        test = 'pytest', '-q', '-x', '-p', 'no:cacheprovider', 'tests/test_kernels.py', *rest
        sys.exit(subprocess.run([sys.executable, '-m', *test], cwd=copy, env=env).returncode)


if __name__=='__main__': main()
