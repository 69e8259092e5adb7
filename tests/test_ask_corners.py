"Corners of graphs and of asking: weights and mass of any size, two at once, an index among its texts, files of other machines"
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from quarantion.checks import CheckError
from quarantion.geometry.ball import exp0, to_ball
from quarantion.graphs.layers import HypergraphAttention, HypergraphConv, Incidence
from quarantion.graphs.spectrum import spectra
from quarantion.graphs.store import hypergraph
from quarantion.graphs.walk import dense_walk, fire, raster, walk
from quarantion.memory.answer import answer_from
from quarantion.memory.library import open_library
from quarantion.memory.remembered import Remembered
from quarantion.memory.retrieve import How, Passage, Retrieved, open_retriever
from quarantion.memory.rules import check_answer
from quarantion.memory.sections import sections_of
from quarantion.memory.signed import Key, own_key, sign
from quarantion.memory.trust import ask_all

EDGES = [['a','b','c'],['b','d'],['e']]


@pytest.mark.parametrize('weights', [(1e-9,2e-9,1e-8), (1e-4,2.3e-5,1), (3e-6,1e-6,1), (1,1e-3,1e-6)])
def test_light_edges_keep_their_ratios_in_whole_numbers(weights):
    h = hypergraph([['x','y'],['x','z'],['q','r']], weights=list(weights))
    p = fire(h, [2**58,0,0,0,0], error=1e-6).p/2**58
    assert abs(p-dense_walk(h, [1,0,0,0,0])).max()<2**-11 and abs(p[1]/p[2]/(weights[0]/weights[1])-1)<2**-10


def test_what_whole_numbers_cannot_hold_is_refused():
    h = hypergraph(EDGES, weights=[1,1e-9,1])
    with pytest.raises(CheckError, match='`weights`: expected at most 2²⁰ times the smallest, found 1 and 1e-09'): fire(h, [2**50]*5)
    h = hypergraph(EDGES)
    for alpha in .9999,.99999,1-2**-40:
        for f in fire,raster:
            with pytest.raises(CheckError, match='fire: `alpha`: expected at most 0.999, or a multiple of 2⁻¹⁶'): f(h, [2**40]*5, alpha)
    assert fire(h, [2**30]*5, 1-2**-8).left.sum()<=5*2**30/1000
    with pytest.raises(CheckError, match='`error`'): fire(h, [2**40]*5, .5, 5e-324)
    with pytest.raises(CheckError): fire(hypergraph([]), np.zeros(0, int))


def test_batches_of_none_are_refused():
    h = hypergraph(EDGES)
    for f in walk,dense_walk:
        for r in np.zeros((0,5)),np.zeros((0,5), np.float32),(np.zeros((0,5)),np.zeros((0,3))):
            with pytest.raises(CheckError, match='`restart`: expected a row at least'): f(h, r)
    with pytest.raises(CheckError, match='a row at least'): fire(h, np.zeros((0,5), int))


def test_mass_of_any_size_is_shared_as_its_ratios_say():
    h,(v,e) = hypergraph(EDGES),(np.array([1,2,0,0,1.]),np.array([1.7,.5,0]))
    want = dense_walk(h, (v,e))
    for scale in 1e308,1e-300:
        assert abs(dense_walk(h, (v*min(scale, 5e307),e*min(scale, 5e307)))-want).max()<1e-12
        assert abs(walk(h, (v*min(scale, 5e307),e*min(scale, 5e307))).p-want).sum()<1e-3
    assert abs(dense_walk(h, ([1e308]*5,[1.7e308]*3))-dense_walk(h, ([1]*5,[1.7]*3))).max()<1e-12
    with pytest.raises(CheckError, match='finite'): walk(h, np.full(5, np.longdouble('1e4000')))


def test_weights_whose_sums_or_roots_have_no_room_are_refused():
    for w in 5e-324,1e-320,1e-302,1e308,1.7e308:
        with pytest.raises(CheckError, match='`weights`: expected 9.3e-302 to'): hypergraph(EDGES, weights=[w]*3)
    want = [s.values for s in spectra(hypergraph(EDGES))]
    for w in 1e-300,1e300:
        for a,b in zip(spectra(hypergraph(EDGES, weights=[w]*3)), want): assert abs(a.values-b).max()<1e-12


def test_layers_in_float32_take_weights_of_any_size():
    torch.manual_seed(0)
    x,layers = torch.randn(5, 3),[HypergraphConv(3, 2),HypergraphAttention(3, 2)]
    for layer in layers:
        want = layer(x, Incidence(hypergraph(EDGES, weights=[1,2,4])))
        for scale in 1e-200,1e-50,1e50,1e200:
            got = layer(x, Incidence(hypergraph(EDGES, weights=[scale,2*scale,4*scale])))
            assert torch.allclose(got, want, atol=1e-5)
    with pytest.raises(CheckError, match='`weights`: expected at most 2⁴⁰ times the smallest'): Incidence(hypergraph(EDGES, weights=[1e-50,1,1]))


@pytest.mark.parametrize('dtype,most', [(torch.float32,3e38), (torch.float64,1e308)])
def test_far_vectors_come_to_the_rim_and_not_to_the_centre(dtype, most):
    for far in 1e10,most**.6,most:
        for f in exp0,to_ball:
            v = torch.tensor([[far,-far],[far,0]], dtype=dtype, requires_grad=True)
            out = f(v)
            assert torch.allclose(out, (1-1e-5)*torch.tensor([[.5**.5,-.5**.5],[1,0]], dtype=dtype), atol=1e-6)
            out.sum().backward()
            assert v.grad.isfinite().all()
    with pytest.raises(CheckError, match='`c`'): exp0(torch.ones(1, 2, dtype=dtype), 1e40)


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path/'notes'
    folder.mkdir()
    for n in 'boats lamps tides'.split(): (folder/f'{n}.md').write_text(f'# About {n}\n\nThe {n} of the harbour are told of here, by `a.b`.\n')
    return folder


def test_several_who_ask_at_once_wait_for_the_one_who_builds(notes, tmp_path):
    def ask(i):
        if i%4==0:
            (tmp_path/f'{i}').write_text(f'# About tides\n\nThe tides of the harbour turn {i} times a day.\n')
            os.replace(tmp_path/f'{i}', notes/'tides.md')
        r = open_retriever(notes, tmp_path/'kept', 'tfidf')
        return [p.title for p in r.ask('Which boats are in the harbour?', 2).passages][0]
    with ThreadPoolExecutor(4) as pool: assert {*pool.map(ask, range(8))}=={'About boats'}
    some = Remembered(tmp_path/'said', 1)
    with ThreadPoolExecutor(6) as pool: list(pool.map(lambda i: some.add(dict(index='a', query=str(i), settings='c'), 'one', i), range(18)))
    assert [some.get(dict(index='a', query=str(i), settings='c')) for i in range(18)]==[*range(18)]


def test_an_index_among_its_texts_is_no_text(notes, capsys):
    kept,said = notes/'kept',[]
    first = open_retriever(notes, kept, say=said.append)
    again = open_retriever(notes, kept, say=said.append)
    assert len(said)==2 and len(again)==3 and again.digest==first.digest # built once
    assert not any('kept' in f for f in again.library.corpus.files)
    shutil.rmtree(kept)
    assert len(open_retriever(notes, notes.parent))==3 # and texts may lie below an index
    with pytest.raises(CheckError, match='`folder`: expected another one than that of the texts'): open_library(notes, notes)


def test_seeds_without_names_leave_room_for_what_others_walk(tmp_path):
    (tmp_path/'notes').mkdir()
    (tmp_path/'notes/a.txt').write_text('ferry ferry ferry boat noon\n')
    words = ' '.join(f'w{chr(97+i)}{chr(97+j)}' for i in range(20) for j in range(20))
    for i in range(20): (tmp_path/f'notes/b{i:02}.txt').write_text(f'The {"x"*(i+2)} boat of the town is long and wide, as a ferry, {words}\n')
    r = open_retriever(tmp_path/'notes', tmp_path/'kept', 'tfidf')
    own = f'v:{tmp_path/"notes/a.txt"}'
    for sharp in 1,2,4,6,8,10,16:
        got = r.ask('ferry ferry boat noon', 21, How(sharp=sharp, without=(own,)))
        assert got.passages[0].title=='a.txt:1' and got.why.left<=got.why.bound and sum(p.share for p in got.passages)==pytest.approx(1)
        assert sharp>6 or len(got.passages)==21


def test_claims_have_their_places_in_files_of_other_machines(notes, tmp_path):
    said = 'The walrus of the ice is grey.'
    files = {'wide.txt':f'A line.\n{said}\n'.encode('utf-16'), 'old.txt':f'A line.\r{said}\r'.encode(), 'new.txt':f'A line.\r\n{said}\r\n'.encode()}
    for n,data in files.items():
        (notes/'walrus.txt').write_bytes(data)
        claim = answer_from(open_retriever(notes, tmp_path/f'kept {n}').ask('What is the walrus?', 1)).claims[0]
        text = data.decode('utf-16' if n=='wide.txt' else 'utf-8')
        assert claim.text==said==text[slice(*claim.span)] and claim.lines==[2,2], n


def test_a_picture_in_a_page_is_no_text_and_no_page_takes_long():
    for q in '"\'':
        page = f'<p>A picture <img alt="x" src={q}data:image/png;base64,{"abcd"*5000}{q}> of a boat.</p>'
        assert [s.text for s in sections_of(page.encode(), 'a.html')]==['A picture of a boat.']
    assert sections_of(b'<a '+b'a'*100_000+b'>', 'a.html')==[] # took minutes
    assert len(sections_of(b'a\n\n'*20_000, 'a.md'))==10
    assert [s.first for s in sections_of(b'<p>One.</p>\r<p>Two.</p>', 'a.html')]==[1]


def retrieved(*texts):
    return Retrieved('What is a walrus?', [Passage(f's{n}', 'T', 'f', [1,1], t, 1, .5, {}) for n,t in enumerate(texts, 1)], None, {})


def test_records_of_what_json_cannot_hold_are_refused(tmp_path):
    answered,key,deep = answer_from(retrieved('A walrus is a big animal.')),Key(bytes(32)),[]
    for _ in range(5000): deep = [deep]
    with pytest.raises(CheckError, match='without an end'): sign(answered, key, dict(k=deep))
    with pytest.raises(CheckError, match='names that differ as strings'): sign(answered, key, {1:2, '1':3})
    own_key(tmp_path/'signing')
    (tmp_path/'signing/key').unlink()
    (tmp_path/'signing/key').mkdir(0o700)
    with pytest.raises(CheckError, match='key: expected a file, found something else'): own_key(tmp_path/'signing')


def test_words_are_quoted_whole_and_ids_have_plain_digits():
    got = retrieved('Most walruses bemight be seen.', 'It is big.')
    assert [f.rule for f in check_answer('A walrus might be [s1].', 'walrus', got)]==['hedge']
    assert 'hedge' in [f.rule for f in check_answer('Might be walrus [s2].', 'walrus', got)]
    assert 'hedge' in [f.rule for f in check_answer('might be seen [s1].', 'walrus', got)] # a part of `bemight` is no quotation
    assert 'cited' in [f.rule for f in check_answer('A walrus is big [s2, s٢].', 'walrus', got)]
    with pytest.raises(CheckError, match='passages s1, s2'): answer_from(got._replace(passages=[got.passages[0]._replace(id='s1, s2')]))
    for k in 0,-1:
        with pytest.raises(CheckError, match='`k`'): ask_all(dict(one=lambda q, k: got), 'walrus', k)
