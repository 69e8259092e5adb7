"Compile each module of `quarantion.kernels`, once for each level of x86-64 that it gains from; all else is said in `pyproject.toml`."
import os
import platform
import re
import runpy
import shutil
import sys
from pathlib import Path
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

def linked(pages):
    "Notebooks, those that they link to, and so on"
    found = set()
    while pages:
        page = pages.pop()
        if page in found: continue
        found.add(page)
        links = re.findall(r'\]\(([\w./]+\.ipynb)', page.read_text())
        pages += [Path(os.path.normpath(page.parent/link)) for link in links]
    return found

# the tutorials go with the package, and the pages behind their links, for `quarantion lab`
for older in ['tutorials', *['notebooks']*Path('nbs/tutorials').exists()]: shutil.rmtree(f'quarantion/{older}', ignore_errors=True)
for page in linked(list(Path('nbs/tutorials').glob('*.ipynb'))):
    copy = 'quarantion/notebooks'/page.relative_to('nbs')
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(page, copy)
# and what tutorials read that was measured
for page in Path('nbs/tutorials').glob('*.ipynb'):
    for name in re.findall(r"\bmeasurement\('(\w+)'", page.read_text()):
        os.makedirs('quarantion/notebooks/measured', exist_ok=True)
        shutil.copy(f'nbs/measured/{name}.json', 'quarantion/notebooks/measured')

# `-ffp-contract=off` keeps a compiled kernel bit-equal to the same module run as plain Python;
# loops over many arrays vectorize only if gcc may test all pairs of them for overlap,
# a choice between two floats only if arithmetic cannot trap (which changes no value),
# and the inner of two loops only if it does not join turns of the outer one first
opt = ['/O2'] if sys.platform=='win32' else ['-O3', '-g0', '-ffp-contract=off']
# what a kernel says is inline has to be: gcc counts, and in a large kernel would call a step of a neuron
if sys.platform!='win32': opt += ['-DCYTHON_INLINE=inline __attribute__((always_inline))']
if sys.platform=='linux':
    opt += ['-fno-trapping-math', '-fno-loop-unroll-and-jam', '--param', 'vect-max-version-for-alias-checks=64']
cores = os.cpu_count() or 1
omp = {'win32': ['/openmp'], 'darwin': []}.get(sys.platform, ['-fopenmp'])
levels = {'': []}
vnni = '_x86_64_v4_vnni.' # for kernels with a part that has lines of C for it; others do with the level below
if sys.platform=='linux' and platform.machine()=='x86_64':
    levels['_x86_64_v3.'] = ['-march=x86-64-v3']
    levels['_x86_64_v4.'] = ['-march=x86-64-v4', '-mprefer-vector-width=512'] # gcc would use half of a v4 register
    levels[vnni] = [*levels['_x86_64_v4.'], '-mavx512vnni']
    if os.environ.get('QUARANTION_BUILD')=='native': # the best level of this machine alone, in a third of the time
        os.environ.pop('QUARANTION_ISA', None) # what is asked of the kernels says nothing of what is built
        best = runpy.run_path('quarantion/kernels/isa.py')['supported']()
        best = ['' if n=='baseline' else f'_{n.replace("-", "_")}.' for n in best]
        levels = {n: levels[n] for n in best if n==best[-1] or best[-1]==vnni and n==best[-2]}

def write(path, data):
    "Write `data` to `path`, unless it is there: what did not change stays old, and is not compiled again"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes()!=data: path.write_bytes(data)
    return path

def lines_of_c(name): return Path(f'build/source/quarantion.kernels.{name}.pxd')

def with_parts(page):
    "The source of a kernel in one piece, and beside it the lines of C of its parts, by the name that Cython looks for"
    parts = set()
    source = write(Path('build/source')/page.name, in_one_piece(page, parts).encode())
    c = b''.join(p.with_suffix('.pxd').read_bytes() for p in sorted(parts) if p.with_suffix('.pxd').exists())
    if c: write(lines_of_c(page.stem), c)
    else: lines_of_c(page.stem).unlink(missing_ok=True)
    return source

def in_one_piece(path, seen):
    "A kernel with its parts (kernels/parts) in place of imports, once: what the compiler sees whole, it can inline"
    def text(m):
        part = path.parent/f'{m[1].replace(".", "/")}.py'
        if part.parent.name!='parts': return m[0]
        if part in seen: return ''
        seen.add(part)
        _,_,code = in_one_piece(part, seen).partition('\n# %% ../') # without its docstring and `__all__`
        code = code.partition('\n')[2]
        return code.replace('from ...', 'from ..')
    return re.sub(r'^from \.(\w[\w.]*) import .*$', text, path.read_text('utf8'), flags=re.M)

only = os.environ.get('QUARANTION_KERNELS', '').split(',') # some kernels alone, for tools/memcheck.py
pages = [p for p in Path('quarantion/kernels').glob('[!_]*.py') if p.stem!='isa' and (only==[''] or p.stem in only)]
sources = [with_parts(p) for p in pages]
sources.sort(key=lambda p: (-p.stat().st_size, p.name)) # the largest first, so that no core ends alone with it
# what Cython writes about arrays, once for all kernels: it is most of a small one, and no loop
memoryviews = 'quarantion.kernels._memoryviews'
kernels = cythonize(
    [Extension(f'quarantion.kernels.{p.stem}', [str(p)]) for p in sources] +
    [Extension(memoryviews, ['build/source/_memoryviews.c'])],
    build_dir='build', include_path=['build/source'], nthreads=cores, shared_utility_qualified_name=memoryviews,
    compiler_directives=dict(language_level=3, boundscheck=False, wraparound=False, initializedcheck=False))

def variant(kernel, level, march):
    "`kernel` for one level, from its own copy of the C source, so that object files stay apart"
    name,c = kernel.name.split('.')[-1],Path(kernel.sources[0])
    (Path('quarantion/kernels')/level.rstrip('.')).mkdir(parents=True, exist_ok=True)
    copy = write(Path('build')/(level.rstrip('.') or 'baseline')/c.name, c.read_bytes())
    # optional: without a C compiler the package still installs, and its kernels run as Python
    return Extension(f'quarantion.kernels.{level}{name}', [str(copy)], depends=['setup.py'], optional=True,
                     extra_compile_args=opt+march+omp, extra_link_args=omp)

class build_changed(build_ext):
    """One compiler a core; and kernels that are built for this checkout stay in `build`.

    pip's own folder is new each time, so that all would be compiled again."""
    def finalize_options(self):
        super().finalize_options()
        self.parallel = cores # said here: an option of `setup` is forgotten where pip asks for the build
        if self.inplace or self.editable_mode: self.build_lib,self.build_temp = 'build/lib','build/temp'

*loops,shared = kernels
modules = [variant(k, level, march) for k in loops for level,march in levels.items()
           if level!=vnni or lines_of_c(k.name.split('.')[-1]).exists()]
setup(ext_modules=[*modules, variant(shared, '', [])], cmdclass=dict(build_ext=build_changed))
