"Retrieval: the weights of bm25s, mass that is not lost, the same bytes each time, and what is refused"
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarantion.checks import CheckError
from quarantion.graphs.walk import fire
from quarantion.memory.bm25 import fit_bm25
from quarantion.memory.library import open_library
from quarantion.memory.linked import housed, less, linked_of, restarted, without
from quarantion.memory.retrieve import UNITS, How, open_retriever, retriever_of, seeds_of
from quarantion.memory.trust import Trust, ask_all, tiers_of
from quarantion.memory.words import words_of

NOTES = {'lamp.md':'# lamp\n\nA thing of glass. See `room`.', 'room.md':'# Evening\n\nIn the dark I need the `lamp`.',
         'sea.md':'# The sea\n\nThe tide is high at noon.', 'code.rst':'Code\n====\n\n.. function:: light(on)\n\n   Turns the lamp on.\n',
         'use.rst':'Use\n===\n\nIn the morning call :func:`light`.\n'}


@pytest.fixture(scope='module')
def notes(tmp_path_factory):
    root = tmp_path_factory.mktemp('notes')
    for n,t in NOTES.items(): (root/n).write_text(t)
    return root


@pytest.fixture(scope='module')
def r(notes): return retriever_of(open_library(notes, notes/'.kept'))


WORD = st.sampled_from('file open close lamp tide noon dark glass reads lines of a the'.split())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(WORD, min_size=1, max_size=9).map(' '.join), min_size=2, max_size=9), st.lists(WORD, min_size=1, max_size=6).map(' '.join))
def test_scores_are_those_of_bm25s(texts, question):
    bm25s = pytest.importorskip('bm25s')
    if not any(map(words_of, texts)): return
    peer = bm25s.BM25()
    peer.index([words_of(t) for t in texts], show_progress=False)
    near = fit_bm25(texts).search(question, len(texts))
    want = peer.get_scores(words_of(question)) if any(w in peer.vocab_dict for w in words_of(question)) else np.zeros(len(texts))
    have = np.zeros(len(texts))
    have[near.ids] = near.scores
    assert np.allclose(have, want, rtol=1e-5, atol=1e-6)
    ids,scores = peer.retrieve([words_of(question)], k=len(texts), show_progress=False) if want.any() else ([[]],[[]])
    assert np.allclose(np.sort(have)[::-1], np.sort(np.asarray(scores[0]))[::-1], rtol=1e-5, atol=1e-6) or not want.any()


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(0, 50), st.floats(0, 1e6), max_size=20), st.integers(1, 64), st.integers(1, 30))
def test_seeds_hold_no_more_than_there_is(scores, sharp, depth):
    ids,units = seeds_of([([*scores],[*scores.values()])], How(sharp=sharp, depth=depth))
    assert len(ids)<=depth and (np.diff(ids)>0).all() and (units>0).all()
    assert sum(units.tolist())<=UNITS and (not len(ids) or sum(units.tolist())>UNITS-len(scores)-64)


def test_mass_is_neither_made_nor_lost(r):
    linked,n = r.linked,len(r)
    at = restarted(linked, np.arange(n), np.full(n, 10**9+7))
    assert at.sum()==n*(10**9+7)
    walk = fire(linked.graph, at)
    assert walk.p.sum()+walk.left.sum()==at.sum()
    home = housed(linked, walk.p, n)
    many = np.diff(linked.starts)
    assert 0<=walk.p[many>0].sum()-home.sum()<=many.sum()


def test_a_name_leads_to_where_it_is_defined(r):
    "`light` is defined by a text that shares no word with the question"
    found = r.ask('morning', 3, How(vectors=0.))
    assert 'BM25' not in found.passages[[p.title for p in found.passages].index('Code')].ranks
    alone = r.ask('morning', 3, How(mix=0., vectors=0.))
    assert 'Code' not in [p.title for p in alone.passages]
    cut = r.ask('morning', 3, How(vectors=0., without=('v:light',)))
    assert 'Code' not in [p.title for p in cut.passages]


def test_less_is_as_if_it_had_never_been(r, notes):
    c = r.library.corpus
    at = c.titles.index('The sea')
    part,cut = linked_of(c.part([i for i in range(len(c)) if i!=at])),less(r.linked, [], [at])
    assert cut.graph.n_edges==part.graph.n_edges and at not in cut.texts and at not in cut.homes
    names = [n for n in part.graph.node_names]
    for n in names:
        a,b = cut.graph.places['n'][n],part.graph.places['n'][n]
        assert cut.graph.degrees[a]==part.graph.degrees[b], n
    assert without(r.linked, ('e:The sea',)).graph==cut.graph


def test_shares_add_up_and_ids_count(r):
    found = r.ask('the dark and the tide', len(r))
    assert [p.id for p in found.passages]==[f's{n}' for n in range(1, len(found.passages)+1)]
    assert abs(sum(p.share for p in found.passages)-1)<1e-12 and found.why.left<=found.why.bound
    assert [p.score for p in found.passages]==sorted((p.score for p in found.passages), reverse=True)


ASK = '''
import json,sys
from quarantion.memory.retrieve import open_retriever
r = open_retriever(sys.argv[1], sys.argv[2])
print(json.dumps([r.ask(q, 3)._asdict()|dict(heavy=sorted({'scipy','torch','bm25s','sklearn','matplotlib'}&{*sys.modules})) for q in ('In the dark?','  in the DARK? ','noon')], default=repr))
'''


def test_the_same_bytes_in_other_processes_and_nothing_heavy_is_imported(notes, tmp_path):
    open_retriever(notes, tmp_path/'kept')
    said = [subprocess.run([sys.executable, '-c', ASK, str(notes), str(tmp_path/'kept')], check=True, capture_output=True,
                           env=os.environ|dict(OMP_NUM_THREADS=t)).stdout for t in '12']
    assert said[0]==said[1]
    one,two,three = json.loads(said[0])
    assert one['heavy']==[] and one['passages']==two['passages'] and one['digests']==two['digests']!=three['digests']


@pytest.mark.parametrize('file', ['bm25.safetensors','graph.safetensors','homes.safetensors'])
def test_damaged_files_are_named(notes, tmp_path, file):
    kept = tmp_path/'kept'
    open_retriever(notes, kept)
    path,whole = kept/file,(kept/file).read_bytes()
    for bad in whole[:-1],whole[:len(whole)//2],whole[:-3]+bytes([whole[-3]^1])+whole[-2:],b'':
        path.write_bytes(bad)
        with pytest.raises(CheckError, match=file): open_retriever(notes, kept)
    path.unlink()
    with pytest.raises(CheckError, match=file): open_retriever(notes, kept)


def test_another_version_is_named_and_other_texts_are_read_anew(notes, tmp_path):
    kept,root = tmp_path/'kept',tmp_path/'notes'
    root.mkdir()
    for n,t in NOTES.items(): (root/n).write_text(t)
    open_retriever(root, kept)
    head = json.loads((kept/'ask.json').read_text())
    (kept/'ask.json').write_text(json.dumps(head|dict(version=99)))
    with pytest.raises(CheckError, match='`version`.*found 99'): open_retriever(root, kept)
    (kept/'ask.json').write_text(json.dumps(head))
    (root/'new.md').write_text('# Zeppelin\n\nIt flies.')
    assert open_retriever(root, kept).ask('zeppelin', 1).passages[0].title=='Zeppelin'


@pytest.mark.parametrize('bad', [dict(k=0), dict(k=99), dict(question=' '), dict(how=How(alpha=1.)), dict(how=How(mix=2.)), dict(how=How(sharp=0)),
                                 dict(how=How(depth=2.5)), dict(how=How(without=('v:no such name',))), dict(how=How(without=['v:lamp']))])
def test_what_makes_no_sense_is_refused(r, bad):
    with pytest.raises(CheckError): r.ask(**dict(question='dark', k=1)|bad)


def test_no_known_word_is_a_stated_answer(r):
    found = r.ask('qqqzzz', 1)
    assert found.passages==[] and 'none of the words' in found.why.said and found.why.seeds==[]


def test_ties_are_stable_and_a_failing_source_is_named(r):
    def broken(q, k): raise OSError('gone')
    got = ask_all(dict(a=r, b=r, c=broken), 'the dark', 3)
    assert got.failed=={'c':'OSError: gone'} and got.agreed=={'a':True, 'b':True} and {s for s,_ in got.passages}=={'a'}
    assert [p.title for _,p in got.passages]==[p.title for p in r.ask('the dark', 3).passages]
    assert ask_all(dict(b=r, a=r), 'the dark', 1).passages[0][0]=='b'
    assert ask_all({}|dict(a=r), 'the dark', 1, dict(a=Trust(1,9))).agreed=={'a':None}
    with pytest.raises(CheckError, match='OSError: gone'): ask_all(dict(c=broken), 'the dark')


def test_trust_is_the_beta_distribution():
    stats = pytest.importorskip('scipy.stats')
    for a,f in (0,0),(3,1),(0,40),(500,2):
        assert np.allclose(Trust(a, f).interval, stats.beta.ppf([.025,.975], 1+a, 1+f), atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30), st.integers(2, 5))
def test_tiers_rise(scores, tiers):
    t = tiers_of(sorted(scores, reverse=True), tiers)
    assert len(t)==len(scores) and t[0]==0 and (np.diff(t)>=0).all() and t.max()<tiers


def test_the_manuals_questions_are_there():
    from quarantion.bench.ask import manual, questions_of
    from quarantion.memory.corpus import read_corpus
    try: path = manual()
    except CheckError as e: pytest.skip(str(e))
    tasks = questions_of(read_corpus(path))
    assert len(tasks.titles)>=2000 and len(tasks.faq)>=60
    assert all(a.page not in a.right and len(a.own) for a in tasks.titles) and not any('/faq/' in f for f in map(str, [tasks.corpus.files[i] for i in tasks.corpus.where[:,0]]))
    assert Path(tasks.corpus.files[tasks.corpus.where[0,0]]).exists()
