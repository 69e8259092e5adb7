"""Readers of files, with bytes that grow towards what they have not done yet: `make fuzz`, or `python tools/fuzz.py npy --seconds 600`.

Each reader answers, or refuses in a line (`CheckError`); anything else, more than 4 times the file in memory, or 5 s
without an answer end the run, and the bytes that did it stay in `build/fuzz`."""
import argparse
import gzip
import io
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT/'build/fuzz'
ALLOWED = dict(program=2**26, npy=2**19, idx=2**22, events=2**19, aedat=2**19, npz=2**22, csv=2**19) # bytes that any call takes; in a program or in what gzip packed, few may stand for 2^20
READERS = tuple(ALLOWED)


def readers():
    "A function of a path for each, and files to begin with"
    from quarantion.data.arrays import read_idx, read_npy
    from quarantion.data.event_files import read_aedat, read_csv, read_events, read_npz
    from quarantion.runtime.network import load
    stored = [*ROOT.glob('tests/**/*.safetensors'), *ROOT.glob('nbs/measured/*.safetensors')]
    small = [p.read_bytes() for p in stored if p.stat().st_size<2**16]
    npy = b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }".ljust(127)+b'\n'+bytes(48)
    idx = bytes([0,0,8,2,0,0,0,2,0,0,0,3])+bytes(6)
    aedat = [b'#!AER-DAT2.0\r\n'+bytes(16), b'#!AER-DAT3.1\r\n'+bytes([1,0,0,0,8])+bytes(11)+bytes([1,0,0,0])*3+bytes([1]+[0]*7)]
    packed = io.BytesIO()
    np.savez_compressed(packed, **dict.fromkeys('txyp', np.arange(2)))
    return dict(program=(load, small), npy=(read_npy, [npy]), idx=(read_idx, [idx, gzip.compress(idx, mtime=0)]),
                events=(lambda p: read_events(p, (2,8,8), 5), [bytes(50)]), aedat=(read_aedat, aedat),
                npz=(lambda p: read_npz(p, (2,8,8)), [packed.getvalue()]), csv=(lambda p: read_csv(p, (2,8,8)), [b't,x,y,p\n1,2,3,0\n']))


def attack(name, seconds):
    "Fuzz one reader, in this process"
    import atheris
    with atheris.instrument_imports(include=['quarantion']): read,seeds = readers()[name]
    from quarantion.checks import CheckError
    KEPT.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory() as d:
        place,corpus = Path(d)/'x',Path(d)/'corpus'
        corpus.mkdir()
        for k,seed in enumerate(seeds): (corpus/str(k)).write_bytes(seed)

        def peak(data):
            place.write_bytes(data)
            tracemalloc.start()
            try: read(place)
            except CheckError: pass
            finally:
                most = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            return most

        def one(data): # the first call imports
            most = 4*len(data)+ALLOWED[name]
            if peak(data)>most and (found := peak(data))>most:
                raise MemoryError(f'{found:,} bytes for a file of {len(data):,}')

        words = [sys.argv[0], str(corpus), f'-max_total_time={seconds}', '-timeout=5', '-rss_limit_mb=4096', f'-artifact_prefix={KEPT}/{name}-']
        atheris.Setup(words, one)
        atheris.Fuzz()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('reader', nargs='*', choices=[*READERS, []], default=[], help='which; all if none is named')
    p.add_argument('--seconds', type=int, default=120, help='for each')
    a = p.parse_args()
    if len(a.reader)==1: return attack(a.reader[0], a.seconds)
    for name in a.reader or READERS: # an attack ends its process
        print(f'== {name}', flush=True)
        if subprocess.run([sys.executable, __file__, name, '--seconds', str(a.seconds)]).returncode: sys.exit(f'{name}: see {KEPT}')


if __name__ == '__main__': main()
