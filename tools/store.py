"What `memory.loop` and `memory.blocks` show: the bar on questions held out; how rows lie in a file, and what a transaction costs"
import os
import platform
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np

BARS = np.arange(.4, 1.21, .025).round(3)
ASKED = .5,.7,.8,.9
LEADS = 0.,1.


def tasks():
    "How it is asked -> questions, and the text of each"
    from quarantion.memory.corpus import read_corpus, without_topics
    from quarantion.bench.relevance import first_sentences
    corpus = without_topics(read_corpus('python'))
    task = first_sentences(corpus)
    of = lambda strings: [strings[i] for i in task.answers]
    whole = [f'{t}\n{s}' for t,s in zip(corpus.titles, corpus.texts)]
    return {'first sentence':(task.questions,of(whole)), 'name':(of(corpus.titles),of(whole)),
            'first sentence, of the rest':(task.questions,of(task.documents))}


def halves(n, seed):
    "Which are in the store, and which questions are held out"
    order = np.random.default_rng(seed).permutation(n)
    known,held = np.zeros(n, bool),np.zeros(n, bool)
    known[order[:n//2]] = held[order[::2]] = True
    return known,held


def nearest(x, q, known):
    "Cosines of the two that are nearest, and whether the first is the answer; a question without a direction is near nothing"
    from quarantion.memory.index import Index
    there,asks = np.flatnonzero(known&np.abs(x).max(1).astype(bool)),np.abs(q).max(1)>0
    ix,score,right = Index(x[there], there),np.zeros((len(q),2)),np.zeros(len(q), bool)
    hit = ix.search(q[asks], 2)
    score[asks],right[asks] = hit.scores,hit.ids[:,0]==np.flatnonzero(asks)
    return score,right


def spread(rows): # mean and standard deviation of each column; None where a seed has none
    a = np.array(rows, float)
    return [None if np.isnan(c).all() else [float(np.nanmean(c)),float(np.nanstd(c))] for c in a.T]


def loop(seeds=5):
    from quarantion.checks import CheckError
    from quarantion.memory.embed import fit_lsa
    from quarantion.memory.loop import Gate, fit_gate, judge_bar
    from quarantion.memory.minilm import MiniLM
    asked = tasks()
    texts = sorted({t for pair in asked.values() for half in pair for t in half}, key=len)
    try: net = dict(zip(texts, MiniLM()(texts)))
    except CheckError as e: net = print(e)
    rows,curves = [],{}
    for kind,(questions,answers) in asked.items():
        for name in ['LSA']+['MiniLM']*bool(net):
            found,line,top = {(l,p):[] for l in LEADS for p in ASKED},[],[]
            for seed in range(seeds):
                known,held = halves(len(questions), seed)
                if name=='LSA': by = fit_lsa([a for a,k in zip(answers, known) if k], seed=seed)
                else: by = lambda strings: np.stack([net[s] for s in strings])
                cosines,right = nearest(by(answers), by(questions), known)
                top.append(right[known].mean())
                for lead,p in found:
                    score = Gate(lead=lead).score(*cosines.T)
                    judged = lambda bar: judge_bar(float(bar), score[held], right[held], known[held])[:4]
                    if (lead,p)==(LEADS[-1],ASKED[0]): line.append([judged(b) for b in BARS])
                    try: bar = fit_gate(score[~held], right[~held], p).base
                    except CheckError: continue
                    found[lead,p].append((bar,*judged(bar)))
            keys = 'bar','precision','recall','miss_precision','miss_recall'
            for (lead,p),f in found.items():
                rows.append(dict(kind=kind, embedder=name, lead=lead, asked=p, top=float(np.mean(top)), reached=len(f),
                                 **dict(zip(keys, spread(f) if f else [None]*5))))
                print(rows[-1])
            line = np.array(line, float)
            curves[f'{kind}, {name}'] = {k:[v or [None,None] for v in spread(line[:,:,i])] for i,k in enumerate(keys[1:])}
    return dict(command='python tools/measure.py loop', python=platform.python_version(), texts=len(questions), seeds=seeds,
                held_out=int(held.sum()), bars=BARS.tolist(), rows=rows, curves=curves)


def read_so_far(): # bytes that this process has asked the system for
    return int(Path('/proc/self/io').read_text().split('rchar: ')[1].split()[0])


def laid(path, order, payloads):
    "A file whose rows lie in this order, and for each text its number there"
    con = sqlite3.connect(path)
    con.execute('CREATE TABLE items(id INTEGER PRIMARY KEY, payload BLOB)')
    con.executemany('INSERT INTO items VALUES(?,?)', ((i,payloads[o]) for i,o in enumerate(order)))
    con.commit()
    con.close()
    at = np.empty(len(order), int)
    at[order] = np.arange(len(order))
    return at


def pages(path, at, wanted):
    "Pages of 4 KiB that one read of some rows takes, and its microseconds; sqlite's memory has room for eight"
    con = sqlite3.connect(path)
    con.execute('PRAGMA cache_size=8')
    began,first = time.perf_counter(),read_so_far()
    empty = read_so_far()-first
    first = read_so_far()
    for some in wanted:
        for i in np.sort(at[some]).tolist(): con.execute('SELECT payload FROM items WHERE id=?', (i,)).fetchone()
    read,took = read_so_far()-first-empty,time.perf_counter()-began
    con.close()
    return read/4096/len(wanted),took/len(wanted)*1e6


def orders_of(x, seed=0):
    "Name -> an order of vectors"
    from sklearn.cluster import KMeans
    from quarantion.geometry.order import to_curve
    n,y = len(x),x-x.mean(0)
    axes = np.linalg.svd(y, full_matrices=False)[2]
    out = {'as they came':np.arange(n), 'at random':np.random.default_rng(seed).permutation(n)}
    for h,bits in ((3,8),(8,4),(16,3)):
        cells = np.argsort(np.argsort(y@axes[:h].T, 0), 0)*2**bits//n # as many to one side as to the other
        for curve in 'hilbert','morton':
            out[f'{curve}, {h} axes of {bits} bits'] = np.argsort(to_curve(cells, bits, curve), kind='stable')
    out['by cells of k-means, 128'] = np.argsort(KMeans(128, n_init=1, random_state=seed).fit_predict(x), kind='stable')
    return out


def near_reads(folder):
    "The texts that are nearest to a question, out of files in several orders"
    from quarantion.memory.corpus import read_corpus, without_topics
    from quarantion.memory.embed import fit_lsa
    from quarantion.bench.relevance import first_sentences
    corpus = without_topics(read_corpus('python'))
    task = first_sentences(corpus)
    lsa = fit_lsa(task.documents)
    x,q = lsa(task.documents),lsa(task.questions[::4])
    top = np.argsort(-(q@x.T), 1, kind='stable')
    payloads,rows = [s.encode() for s in corpus.texts],[]
    files = {n:(f'{folder}/{i}',laid(f'{folder}/{i}', o, payloads)) for i,(n,o) in enumerate(orders_of(x).items())}
    for k in 10,100:
        found = {n:[pages(*f, top[:,:k]) for _ in range(3)] for n,f in files.items()}
        rows += [dict(order=n, k=k, pages=f[0][0], us=float(np.median([t for _,t in f]))) for n,f in found.items()]
    return dict(rows=rows, texts=len(x), questions=len(q))


def box_reads(folder, seed=0):
    "Cells of a square around a cell of a grid of 512 × 512, 32 bytes each"
    from quarantion.geometry.order import to_curve
    side,rng = 512,np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing='ij'), -1).reshape(-1, 2)
    orders = {'row by row':np.arange(side**2)} | {c:np.argsort(to_curve(cells, 9, c)) for c in ('hilbert','morton')}
    orders['at random'] = rng.permutation(side**2)
    near = np.stack(np.meshgrid(np.arange(11), np.arange(11), indexing='ij'), -1).reshape(-1, 2)
    wanted = [((rng.integers(0, side-10, 2)+near)@[side,1]) for _ in range(200)]
    out = []
    for i,(n,o) in enumerate(orders.items()):
        at = laid(f'{folder}/box{i}', o, [bytes(32)]*side**2)
        found = [pages(f'{folder}/box{i}', at, wanted) for _ in range(3)]
        out.append(dict(order=n, pages=found[0][0], us=float(np.median([t for _,t in found]))))
    return out


def medians(ways, times, rounds=5): # microseconds of one call of each, in turn
    out = {n:[] for n in ways}
    for r in range(rounds):
        for n,f in ways.items():
            began = time.perf_counter()
            for i in range(times): f(r*times+i)
            out[n].append((time.perf_counter()-began)/times*1e6)
    return {n:float(np.median(t)) for n,t in out.items()}


def changes(folder, N=8192, D=384, size=200):
    "Microseconds of a durable change, of a read and of a search, in sqlite and in lmdb where it is installed; and of opening"
    from quarantion.memory.blocks import open_store
    x = np.random.default_rng(0).normal(size=(N+4096,D)).astype(np.float32)
    x += 3*np.random.default_rng(1).normal(size=(64,D)).astype(np.float32)[np.arange(len(x))%64]
    store = open_store(f'{folder}/store', D)
    store.add([f'{i}' for i in range(N)], [bytes(size)]*N, x[:N])
    began = time.perf_counter()
    store.index
    out = dict(items=N, dims=D, build=time.perf_counter()-began)
    row = bytes(size)+x[0].tobytes()
    out |= medians(dict(search=lambda i: store.search(x[i]+.1, 10)), 40)
    ways = {'store, one item':lambda i: store.add([f'one {i}'], [bytes(size)], x[N+i:N+i+1])}
    con = sqlite3.connect(f'{folder}/plain', isolation_level=None)
    for s in 'PRAGMA locking_mode=EXCLUSIVE','PRAGMA synchronous=EXTRA','CREATE TABLE items(k TEXT PRIMARY KEY, v BLOB)': con.execute(s)
    ways['sqlite, one item'] = lambda i: con.execute('INSERT INTO items VALUES(?,?)', (f'{i}',row))
    reads = {'store':lambda i: store[f'{i}'], 'sqlite':lambda i: con.execute('SELECT v FROM items WHERE k=?', (f'{i%64}',)).fetchone()}
    try:
        import lmdb
        env = lmdb.open(f'{folder}/lmdb', map_size=2**30)
        def put(i):
            with env.begin(write=True) as t: t.put(f'{i}'.encode(), row)
        def get(i):
            with env.begin() as t: return t.get(f'{i%64}'.encode())
        ways['lmdb, one item'],reads['lmdb'] = put,get
    except ImportError: pass
    out['adds'],out['reads'] = medians(ways, 16),medians(reads, 200)
    con.close()
    store.keep()
    store.close()
    for name in 'with its index','without':
        began = time.perf_counter()
        store = open_store(f'{folder}/store')
        opened = time.perf_counter()-began
        store.index
        out[f'open {name}'] = [opened,time.perf_counter()-began]
        out['bytes'] = os.path.getsize(f'{folder}/store')/len(store)
        store._changed = 0 # do not keep it again
        store.close()
        if name!='without': os.unlink(f'{folder}/store.index')
    return out


def store():
    with tempfile.TemporaryDirectory() as folder:
        out = dict(command='python tools/measure.py store', near=near_reads(folder), boxes=box_reads(folder), changes=changes(folder))
    print(out)
    return out
