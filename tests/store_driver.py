"Kill a process that changes a store, at many moments; after each, all that it acknowledged has to be there. One process imports everything once; each worker is a fork of it. Prints one JSON object."
import json
import os
import random
import signal
import sys
import traceback
import time

import numpy as np

from quarantion.memory.blocks import open_store

D = 12


def vector(name): return np.random.default_rng([*str(name).encode('utf-8', 'surrogatepass')]+[7]).normal(size=D).astype(np.float32)
def payload(name): return f'payload of {name}'.encode()*3


def add(store, *names, **how): store.add([*names], [payload(n) for n in names], np.stack([vector(n) for n in names]), **how)


def held(store):
    "Names and bytes, by name and by search: both have to say the same"
    names = store.names()
    out = {n: store[n] for n in names}
    assert len(store)==len(names) and (store.index is None if not names else len(store.index)==len(names))
    for n in names:
        near = store.search(vector(n), 1)
        assert near.names==[n] and near.payloads==[out[n]] and near.scores[0]>1-1e-6, (n, near)
    return out


def work(path, seed, say):
    "Add, replace and remove for ever; say what is tried before, and that it is done after"
    rng,n = random.Random(seed),0
    with open_store(path) as store:
        mine = store.names()
        while True:
            n += 1
            if len(mine)>40 or mine and rng.random()<.4: how,names = 'remove',rng.sample(mine, min(len(mine), rng.randint(1, 5)))
            else: how,names = 'add',[f'{seed}-{n}-{i}' for i in range(rng.randint(1, 8))]
            if how=='add' and mine and rng.random()<.3: names.append(rng.choice(mine))
            say(json.dumps([how, names]))
            if how=='add': add(store, *names, replace=True)
            else: store.remove(names)
            say('"done"')
            mine = sorted({*mine, *names} if how=='add' else {*mine}-{*names})
            if n%7==0 and mine: store.search(vector(n), 1)
            if n%11==0: store.keep()
            if n%17==0: store.pack()


def after(have, tried):
    how,names = tried
    return have|{n: payload(n) for n in names} if how=='add' else {n: p for n, p in have.items() if n not in names}


def killed(path, seed, delay):
    "What a worker said, until it was killed so many seconds after its first word"
    r,w = os.pipe()
    pid = os.fork()
    if pid==0:
        try: work(path, seed, lambda line: os.write(w, f'{line}\n'.encode()))
        except BaseException: traceback.print_exc()
        finally: os._exit(1) # it never ends of itself
    os.close(w)
    with open(r, 'rb') as f:
        first = f.readline()
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        said = first+f.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])==-signal.SIGKILL
    return [json.loads(line) for line in said.splitlines()] # a line is written at once


def main(path, times, seed):
    open_store(path, D).close()
    have,middle,changes,rng = {},0,0,random.Random(seed)
    for i in range(times):
        tried = None
        for said in killed(path, seed*10_000+i, rng.random()*.2):
            if said=='done': have,tried,changes = after(have, tried),None,changes+1
            else: tried = said
        with open_store(path) as store: found = held(store)
        assert found==have or tried and found==after(have, tried), (i, tried, {*found}^{*have})
        have,middle = found,middle+(tried is not None)
    print(json.dumps(dict(kills=times, middle=middle, changes=changes)))


if __name__=='__main__': main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
