"Compile each module of `quarantion.kernels`, once for each level of x86-64; `pyproject.toml` says everything else about the build."
import os
import platform
import shutil
import sys
from pathlib import Path
from Cython.Build import cythonize
from setuptools import Extension, setup

# the tutorials go with the package, for `quarantion lab`
if Path('nbs/tutorials').exists(): shutil.copytree('nbs/tutorials', 'quarantion/tutorials', dirs_exist_ok=True, ignore=lambda _,names: [n for n in names if not n.endswith('.ipynb')])

# `-ffp-contract=off` keeps a compiled kernel bit-equal to the same module run as plain Python;
# loops over many arrays vectorize only if gcc may test all pairs of them for overlap,
# a choice between two floats only if arithmetic cannot trap (which changes no value),
# and the inner of two loops only if it does not join turns of the outer one first
opt = ['/O2'] if sys.platform=='win32' else ['-O3', '-g0', '-ffp-contract=off']
if sys.platform=='linux': opt += ['-fno-trapping-math', '-fno-loop-unroll-and-jam', '--param', 'vect-max-version-for-alias-checks=64']
omp = {'win32': ['/openmp'], 'darwin': []}.get(sys.platform, ['-fopenmp'])
levels = {'': []}
if sys.platform=='linux' and platform.machine()=='x86_64': levels.update({'_x86_64_v3.': ['-march=x86-64-v3'], '_x86_64_v4.': ['-march=x86-64-v4', '-mprefer-vector-width=512']}) # gcc would use half of a v4 register

kernels = cythonize(
    [Extension(f'quarantion.kernels.{p.stem}', [str(p)]) for p in sorted(Path('quarantion/kernels').glob('[!_]*.py'))],
    build_dir='build', compiler_directives=dict(language_level=3, boundscheck=False, wraparound=False, initializedcheck=False))

def variant(kernel, level, march):
    "`kernel` for one level, from its own copy of the C source, so that object files stay apart"
    name,c = kernel.name.split('.')[-1],Path(kernel.sources[0])
    copy = Path('build')/(level.rstrip('.') or 'baseline')/c.name
    for d in copy.parent,Path('quarantion/kernels')/level.rstrip('.'): d.mkdir(parents=True, exist_ok=True)
    shutil.copy2(c, copy)
    # optional: without a C compiler the package still installs, and its kernels run as Python
    return Extension(f'quarantion.kernels.{level}{name}', [str(copy)], depends=['setup.py'], optional=True,
                     extra_compile_args=opt+march+omp, extra_link_args=omp)

setup(ext_modules=[variant(k, level, march) for k in kernels for level,march in levels.items()],
      options=dict(build_ext=dict(parallel=os.cpu_count())))
