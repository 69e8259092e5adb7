"""Write the versions in this environment.

`requirements.lock` is for what the package and its build need, `requirements-dev.lock` for the rest.

The package itself, pip, build tags (`+cpu`), what torch brings for a GPU and what
`requirements-peers.lock` and the extras `bench` and `text` name are left out."""
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement


def plain(name): return re.sub('[-_.]+', '-', name).lower()


def needed(requirements, found):
    "Names of distributions that these requirements bring, those behind them included"
    for text in requirements:
        r = Requirement(text)
        wanted = not r.marker or any(r.marker.evaluate(dict(extra=e)) for e in ('', *r.extras))
        if plain(r.name) in found or not wanted: continue
        try: d = distribution(r.name)
        except PackageNotFoundError: continue
        found.add(plain(r.name))
        def asked(q): return 'extra ==' not in q or any(f"'{e}'" in q or f'"{e}"' in q for e in r.extras)
        needed([q for q in d.requires or [] if asked(q)], found)
    return found


def main():
    said = tomllib.loads(Path('pyproject.toml').read_text())
    versions = {plain(d.name): d.version.split('+')[0] for d in distributions()}
    versions = {n: v for n, v in sorted(versions.items()) if not re.match(r'quarantion$|pip$|nvidia-|cuda-|triton', n)}
    peers = {plain(line.partition('==')[0]) for line in Path('requirements-peers.lock').read_text().splitlines()}
    extras = said['project']['optional-dependencies']
    peers |= {plain(Requirement(r).name) for r in (*extras['bench'], *extras['text'])}
    versions = {n: v for n, v in versions.items() if n not in peers}
    core = needed([*said['project']['dependencies'], *said['build-system']['requires'], 'wheel'], set())
    for name, inside in ('requirements.lock', True), ('requirements-dev.lock', False):
        rows = [f'{n}=={v}\n' for n, v in versions.items() if (n in core)==inside]
        Path(name).write_text('# make lock writes this file\n'+''.join(rows))
        print(f'{name}: {len(rows)} packages')


main()
