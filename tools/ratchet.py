"""Measures of style that may only get better: `python tools/ratchet.py` compares them with `tools/ratchet.json`.

`--lower` writes the present numbers as ceilings, where they are lower; `--worst N` names the worst places;
`--root FOLDER` measures another checkout."""
import argparse
import ast
import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CEILINGS = HERE/'tools/ratchet.json'
DIRECTIVE = re.compile(r'^\s*#\s*\|')
IMPORTS = re.compile(r'^(from|import|#|$)')
COUNTED = ('lines over 200', 'lines with `reset==`', 'lines with isinstance of layers', 'lines with 2^16 in digits',
           'plain ValueErrors in kernels')
PLACES = ('export cells over 30 lines', 'runs over 60 exported lines', 'public names in no visible example',
          'examples that look up', 'private names in other files', 'functions with over 8 arguments',
          'classes over 100 lines', 'modules over 300 lines', 'lines over 120')


def cells(root):
    "Page, kind (`export`, `hide`, `shown`, `words`, `imports`) and lines of each cell but directives and empty ones"
    for f in sorted((root/'nbs').rglob('*.ipynb')):
        if '.ipynb_checkpoints' in f.parts: continue
        for c in json.loads(f.read_text())['cells']:
            text = ''.join(c['source'])
            lines = [l for l in text.splitlines() if l.strip() and not DIRECTIVE.match(l)]
            told = [l.split('|', 1)[1].split() for l in text.splitlines() if DIRECTIVE.match(l)]
            told = {t[0] for t in told if t}
            if c['cell_type']!='code': kind = 'words'
            elif told & {'export', 'exports', 'exporti'}: kind = 'export'
            elif 'hide' in told or 'default_exp' in told: kind = 'hide'
            elif all(IMPORTS.match(l) for l in lines): kind = 'imports'
            else: kind = 'shown'
            yield f.relative_to(root/'nbs'), kind, lines


def modules(root):
    "Exported modules, by dotted name without the package's"
    package = root/'quarantion'
    for f in sorted(package.rglob('*.py')):
        name = f.relative_to(package).with_suffix('').parts
        if name[-1]!='_modidx' and not name[0].startswith('_x86'):
            yield '.'.join(n for n in name if n!='__init__') or 'quarantion', f


def percentile(v, p): return sorted(v)[min(len(v)-1, int(p*len(v)))] if v else 0


def spread(what, v, middle):
    "The middle, the ninetieth of a hundred and the largest of many, by name"
    return {middle:statistics.median(v), f'{what}, p90':percentile(v, .9), f'{what}, max':max(v)}


def rhythm(root, worst):
    "Lines of export cells, and exported lines before something is shown"
    sizes,runs,run,page = [],[],0,None
    for f,kind,lines in cells(root):
        if f!=page: page,run = f,0
        code = [] if kind=='export' and all(IMPORTS.match(l) for l in lines) else lines
        if kind=='export' and code:
            sizes.append(len(code))
            run += len(code)
            runs.append([run, f]) if run==len(code) else runs[-1].__setitem__(0, run)
            if len(code)>30: worst['export cells over 30 lines'].append((len(code), f'{f}: {code[0].strip()[:60]}'))
        elif kind=='shown': run = 0
    worst['runs over 60 exported lines'] += [(n, str(f)) for n,f in runs if n>60]
    n = [r for r,_ in runs]
    return spread('export cell', sizes, 'export cell, median lines') | \
           spread('lines before an example', n, 'lines before an example, median')


def public(tree):
    "What `__all__` says"
    for n in tree.body:
        if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '')=='__all__' and isinstance(n.value, ast.List):
            return [e.value for e in n.value.elts]
    return []


def examples(root, trees, worst):
    "Public names that no visible example uses, and examples that import what their page's module may not"
    said,rooms = set(),order(root)
    for f,kind,lines in cells(root):
        text = '\n'.join(lines)
        if kind=='shown': said |= set(re.findall(r'\w+', text))
        own = f.parts[0].removesuffix('.ipynb')
        if kind=='export' or own not in rooms: continue
        for room in re.findall(r'from quarantion\.(\w+)|import quarantion\.(\w+)', text):
            r = ''.join(room)
            if r in rooms and rooms.index(r)>rooms.index(own): worst['examples that look up'].append((1, f'{f}: {r}'))
    for m,t in trees.items():
        for n in public(t):
            if n not in said: worst['public names in no visible example'].append((1, f'{m}.{n}'))
    return {'public names':sum(len(public(t)) for t in trees.values())}


def order(root):
    "The rooms from below, as `quarantion/__init__.py` says, or for older trees the layer test"
    tree = ast.parse((root/'quarantion/__init__.py').read_text())
    for n in tree.body:
        if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '')=='STOREYS':
            return [k.arg for storey in n.value.values for k in storey.keywords]
    return 'checks files kernels nonary runtime spikes quant data train inspect bench cli'.split()


def private(trees, worst):
    "Private names that another file imports, or reads from a module"
    for m,t in trees.items():
        for n in ast.walk(t):
            if isinstance(n, ast.ImportFrom) and (n.level or (n.module or '').startswith('quarantion')):
                names = [a.name for a in n.names if a.name!='_room' and re.match('_(?!_)', a.name)]
                worst['private names in other files'] += [(1, f'{m}: {k}') for k in names]


def shapes(trees, worst):
    "Bodies, arguments and classes"
    bodies = []
    for m,t in trees.items():
        for n in ast.walk(t):
            if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = n.body if ast.get_docstring(n) is None else n.body[1:]
                bodies.append(n.end_lineno-body[0].lineno+1 if body else 0)
                args = [*n.args.posonlyargs, *n.args.args, *n.args.kwonlyargs]
                count = len([a for a in args if a.arg not in ('self','cls','ctx')])
                if count>8 and not m.startswith('kernels'):
                    worst['functions with over 8 arguments'].append((count, f'{m}.{n.name}'))
            elif isinstance(n, ast.ClassDef) and n.end_lineno-n.lineno>=100:
                worst['classes over 100 lines'].append((n.end_lineno-n.lineno+1, f'{m}.{n.name}'))
    return spread('function body', bodies, 'function body, median lines')


def texts(root, trees, sources, worst):
    "Lines that are long, and shapes that should have one home"
    counts = dict.fromkeys(COUNTED, 0)
    for m,f in sources.items():
        lines = f.read_text().splitlines()
        code = [l for l in lines if l.strip() and not l.startswith('#')]
        if len(code)>300 and m!='quarantion': worst['modules over 300 lines'].append((len(code), m))
        for i,l in enumerate(lines, 1):
            if l.startswith(('__all__','           \'')): continue
            if len(l)>120: worst['lines over 120'].append((len(l), f'{m}:{i}'))
            counts['lines over 200'] += len(l)>200
            counts['lines with `reset==`'] += bool(re.search(r'reset ?(==|!=)|\breset in\b', l))
            layers = re.search(r'isinstance\([^)]*(nn\.|LIF|Synaptic)', l) or "recurrent', None" in l
            counts['lines with isinstance of layers'] += bool(layers)
            counts['lines with 2^16 in digits'] += bool(re.search(r'\b(65536|32768)\b|>> ?16\b', l))
            if m.startswith('kernels') and 'raise ValueError' in l: counts['plain ValueErrors in kernels'] += 1
    return counts


def twice(sources, least=6):
    "Pairs of places that share six or more lines, blank lines, comments and imports aside"
    places,rows = defaultdict(list),{}
    for m,f in sources.items():
        lines = [l.strip() for l in f.read_text().splitlines()]
        rows[m] = [l for l in lines if len(l)>3 and not l.startswith(('#','from ','import ','"'))]
        for i in range(len(rows[m])-least+1): places[tuple(rows[m][i:i+least])].append((m,i))
    pairs,found = set(),0
    for at in places.values():
        for a in range(len(at)):
            for b in range(a):
                (m,i),(n,j) = at[b],at[a]
                if (m,i-1,n,j-1) not in pairs: found += 1
                pairs.add((m,i,n,j))
    return found


def measure(root):
    "Every number, and the worst places"
    worst,sources = defaultdict(list),dict(modules(root))
    trees = {m:ast.parse(f.read_text()) for m,f in sources.items()}
    out = rhythm(root, worst) | examples(root, trees, worst)
    private(trees, worst)
    out |= shapes(trees, worst)
    counts = texts(root, trees, sources, worst)
    for k in PLACES: out[k] = len(worst[k])
    return out | counts | {'runs of 6 lines that stand twice':twice(sources)}, worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--root', type=Path, default=HERE)
    p.add_argument('--worst', type=int, default=0, help='so many places of each kind')
    p.add_argument('--only', default='', help='places whose name holds this')
    p.add_argument('--lower', action='store_true')
    a = p.parse_args()
    out,worst = measure(a.root)
    ceilings = json.loads(CEILINGS.read_text()) if CEILINGS.exists() else {}
    bad = [k for k,v in out.items() if v>ceilings.get(k, v)]
    for k,v in out.items(): print(f'{k:42}{v:>8g}   ceiling {ceilings.get(k, "none")}{"  HIGHER" if k in bad else ""}')
    for k,places in sorted(worst.items()):
        rows = sorted((q for q in places if a.only in q[1]), reverse=True)
        if a.worst and rows: print(f'\n{k}:', *(f'  {n:4}  {where}' for n,where in rows[:a.worst]), sep='\n')
    if a.lower:
        lower = {k:min(v, ceilings.get(k, v)) for k,v in out.items() if k!='public names'}
        CEILINGS.write_text(json.dumps(lower, indent=1)+'\n')
    higher = ', '.join(f'{k} ({out[k]:g}, at most {ceilings[k]:g})' for k in bad)
    if bad: sys.exit(f'higher than the ceiling in tools/ratchet.json: {higher}')


if __name__=='__main__': main()
