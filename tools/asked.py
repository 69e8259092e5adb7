"How high pages of Python's manual stand: settings by titles and sentences, then the FAQ, once; `tools/measure.py ask`"
import json
import os
import platform
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from quarantion.bench.ask import (DEPTH, compared, controlled, garbled, in_nits, lists_of, lists_without, manual,
                                  mixes_of, most_linked, pages_by, paired, questions_of, retriever_for, sentences_of,
                                  stands, stood, ways_of)
from quarantion.checks import CheckError
from quarantion.memory.corpus import read_corpus
from quarantion.memory.index import Index
from quarantion.memory.library import kept_vectors
from quarantion.memory.linked import less
from quarantion.memory.minilm import MiniLM
from quarantion.memory.retrieve import How

ALL = 'settings','titles','letters','nits','faq'
ALPHAS,MIXES = (.5,.7,.85),(.4,.5,.6,.7,.8)


class Kept:
    "An embedder that remembers what it was asked"
    def __init__(self, net):
        self.net,self.config,self.digest = net,net.config,net.digest
        self.one = lru_cache(None)(lambda t: net([t])[0])

    def __call__(self, texts): return np.stack([self.one(t) for t in texts])


def minilm(corpus, keep):
    "A retriever by MiniLM, 64 pieces of a text, or None where it is not installed"
    try: net = MiniLM(most=64)
    except CheckError as e: return print(e)
    texts = [f'{t}\n{s}' for t,s in zip(corpus.titles, corpus.texts)]
    return retriever_for(corpus, (Kept(net),kept_vectors(Path(keep), net, texts, print)))


def said(name, d): print(f"{name:28} n {d['n']:5} recall@10 {d['recall10']:.3f} MRR {d['mrr']:.3f}", d.get('recall10_more', ''), d.get('mrr_more', ''), flush=True)


def control(r, asked, how):
    words,mass = controlled(r, asked, how)
    return dict(n=len(asked), mrr_words=float(words.mean()), mrr=float(mass.mean()), first10_words=float((words>=.1).mean()),
                first10=float((mass>=.1).mean()), more=paired(mass, words))


def settings(r, tasks, some=5):
    "Every fifth title, and sentences: what walk and mix are worth; one walk serves all mixes"
    asked,own,out = tasks.titles[::some],sentences_of(r.library.corpus, 400),[]
    file = r.library.corpus.where[:,0]
    lists,cut = [lists_of(r, a, DEPTH) for a in asked],[lists_without(r, *o) for o in own]
    for alpha in ALPHAS:
        how = How(alpha=alpha)
        masses = lambda a, l: mixes_of(r, l, how, MIXES, less(r.linked, [], list(a.own)))
        pages = [[pages_by(m, file) for m in masses(a, l)] for a,l in zip(asked, lists)]
        ranks = [[stands(i, np.lexsort((np.arange(len(m)), -m))[:100].tolist()) if m[i] else 0. for m in mixes_of(r, l, how, MIXES)]
                 for (i,_),l in zip(own, cut)]
        for n,mix in enumerate(MIXES):
            s,x = stood(asked, [p[n] for p in pages]),np.array(ranks)[:,n]
            said = dict(n=len(own), mrr=float(x.mean()), first10=float((x>=.1).mean()))
            out.append(dict(alpha=alpha, mix=mix, n=len(asked), mrr=float(s.rank.mean()), recall10=float(s.recall.mean()), sentences=said))
            print(out[-1], flush=True)
    return out


def wrong_letters(r, asked, seeds=3):
    out = []
    for part in (0,.01,.05,.1):
        for seed in range(seeds if part else 1):
            rng = np.random.default_rng(seed)
            ways = ways_of(r, [a._replace(question=garbled(a.question, part, rng)) for a in asked], How())
            out += [dict(part=part, seed=seed, way=n, recall10=float(s.recall.mean()), mrr=float(s.rank.mean()), n=len(asked))
                    for n,p in ways.items() for s in [stood(asked, p)]]
    return out


def few_bits(r, asked, x):
    "Pages by vectors in float32 and in nits, alone and in the walk"
    back,size = in_nits(x)
    parts = r.library.parts
    out = dict(bytes=size, float_bytes=4*x.shape[1], n=len(asked))
    for name,y in dict(float32=x, nits=back).items():
        some = np.flatnonzero(np.abs(y).max(1)>0)
        r.library.parts = parts._replace(index=Index(y[some], some))
        ways = ways_of(r, asked, How())
        out[name] = {n:float(stood(asked, ways[n]).recall.mean()) for n in (r.lists[1],'walk')}
        out[f'{name}_each'] = stood(asked, ways[r.lists[1]]).recall
    r.library.parts = parts
    out['less'] = paired(out.pop('nits_each'), out.pop('float32_each'))
    print(out, flush=True)
    return out


def measure(put, cpu, path, keep=None, only=ALL):
    "All of it, or parts, which take the place of what was stored of them; vectors of MiniLM are kept in a file, if one is named"
    tasks = questions_of(read_corpus(manual()))
    r = retriever_for(tasks.corpus)
    with tempfile.TemporaryDirectory() as tmp: by = minilm(tasks.corpus, keep or f'{tmp}/vectors') if {*only}-{'settings','letters'} else None
    both = [r,*[by]*(by is not None)]
    texts = [f'{t}\n{s}' for t,s in zip(tasks.corpus.titles, tasks.corpus.texts)]
    d = dict(command='python tools/measure.py ask', python=platform.python_version(), manual=Path(manual()).parts[4], texts=len(tasks.corpus),
             names=r.linked.graph.n_nodes, how=How()._asdict())
    ix = by and by.library.parts.index
    of_texts = lambda: ix.plan.vectors(np.arange(len(ix)))
    popular = most_linked(tasks.titles)
    if 'settings' in only: d['settings'] = settings(r, tasks)
    if 'titles' in only:
        d['titles'] = {q.lists[1]:compared(tasks.titles, ways_of(q, tasks.titles, How(), popular)) for q in both}
        d['sentences'] = control(r, sentences_of(tasks.corpus), How())
        for n,ways in d['titles'].items(): [said(f'titles, {n}: {w}', v) for w,v in ways.items()]
        print(d['sentences'])
    if 'letters' in only: d['letters'] = dict(titles=wrong_letters(r, tasks.titles[::10]))
    if 'nits' in only:
        d['nits'] = {'LSA':few_bits(r, tasks.titles[::4], r.library.parts.embedder(texts))}
        if by is not None: d['nits']['MiniLM'] = few_bits(by, tasks.titles[::4], of_texts())
    if 'faq' in only:
        d['faq'] = {q.lists[1]:compared(tasks.faq, ways_of(q, tasks.faq, How(), popular)) for q in both}
        for n,ways in d['faq'].items(): [said(f'faq, {n}: {w}', v) for w,v in ways.items()]
        d.setdefault('letters', {})['faq'] = wrong_letters(r, tasks.faq)
        d['faq_nits'] = {q.lists[1]:few_bits(q, tasks.faq, r.library.parts.embedder(texts) if q is r else of_texts()) for q in both}
    old = json.loads(path.read_text()) if path.exists() else {}
    d['letters'] = old.get('letters', {})|d.get('letters', {})
    put(path, old|d|dict(machine=f'{cpu}, {os.cpu_count()} cores'))
