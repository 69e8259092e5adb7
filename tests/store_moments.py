"Kill a process that packs a store, or changes it, before each change of a file that sqlite asks of the system: `LD_PRELOAD=DIES.so store_moments.py FOLDER DIES.so`, which has `dies_before(n)`. Prints one JSON object."
import ctypes, json, shutil, sys
from pathlib import Path

from forked import fork
from quarantion.memory.blocks import open_store
from store_driver import D, add, held

folder,lib = Path(sys.argv[1]),ctypes.CDLL(sys.argv[2])
lib.dies_before.restype = ctypes.c_long
FAR = 10**6


def begun():
    with open_store(folder/'begun', D) as store:
        add(store, *(f'{i}' for i in range(120)))
        store.remove([f'{i}' for i in range(112)])
        return held(store)


def act(path, what, n):
    with open_store(path) as store:
        lib.dies_before(n)
        what(store)
        (path.parent/'took').write_text(f'{n-lib.dies_before(0)}')


def at_all(name, what):
    "Which files were longer than their store, of all moments"
    path,(have,after,long) = folder/name/'s',({},{},[])
    path.parent.mkdir()
    def anew():
        for end in '','-journal','.index': path.with_name(f's{end}').unlink(missing_ok=True)
        shutil.copy(folder/'begun', path)
        with open_store(path) as store: return held(store)
    have = anew()
    assert fork(lambda: act(path, what, FAR))==0
    with open_store(path) as store: after = held(store)
    took = int((path.parent/'took').read_text())
    for n in range(1, took+1):
        anew()
        assert fork(lambda: act(path, what, n))==-9
        for _ in range(1+(name=='pack')): # to be opened, and to be worked on
            with open_store(path) as store:
                found = held(store)
                pages,size = (store._rows.con.execute(f'PRAGMA {k}').fetchone()[0] for k in ('page_count','page_size'))
                if path.stat().st_size>pages*size: long.append(n)
                add(store, *(f'new {i}' for i in range(60)))
                store.remove([f'new {i}' for i in range(60)])
            assert found in (have, after), (name, n, {*found}^{*have})
    return dict(moments=took, longer=long)


begun()
print(json.dumps(dict(
    pack=at_all('pack', lambda s: s.pack()), add=at_all('add', lambda s: add(s, 'x', '115', replace=True)), remove=at_all('remove', lambda s: s.remove([f'{i}' for i in range(112, 120)])))))
