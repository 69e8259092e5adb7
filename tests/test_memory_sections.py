"Sections of every format with their names and lines, what hostile files do to them, and the hypergraph that names make of a corpus"
import ast
import json
import os
import re
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.memory import corpus as C
from quarantion.memory.corpus import Corpus, read_corpus, without_topics
from quarantion.memory.entities import entities_of, graph_of
from quarantion.memory.parts.names import LONG, name_of, whole_title
from quarantion.memory.parts.rst import plain
from quarantion.memory.sections import Section, docstrings, sections_of, topics

SOURCES = Path('/usr/share/doc/python3.11/html/_sources')
RST = b'''.. _gzip-files:

:mod:`gzip` --- files
=====================

.. module:: gzip

Opens :term:`file objects <file object>`, as :func:`.open` and :mod:`zlib` do.

.. function:: open(name,
                   mode)
              close()

   Like ``io.open`` of :pep:`8`, see `Examples`_ and :ref:`gzip-files`.

.. class:: GzipFile(name)

   .. method:: peek(n)

.. index:: single: compression; of files

Examples
--------

::

   import zlib.crc32
'''


@pytest.fixture(scope='module')
def python(tmp_path_factory):
    kept = tmp_path_factory.mktemp('python')/'kept'
    return read_corpus('python', kept),kept


def said(sections): return [(s.title,s.first,s.last,s.defines,s.refers) for s in sections]


def test_restructured_text():
    assert said(sections_of(RST, 'library/gzip.rst.txt'))==[
        ('gzip --- files', 6, 18, ('gzip-files','gzip','gzip.open','gzip.close','gzip.GzipFile','gzip.GzipFile.peek'),
         ('file object','zlib','PEP 8','examples','io.open')),
        ('gzip --- files > Examples', 25, 27, (), ('compression','of files','zlib.crc32'))]


def test_markdown():
    text = b'---\ntitle: Guide\n---\nBefore.\n\nSet\n===\n\n# `open(x)`\nSee [there](../b.md#at "t"), [ref]\nand {meth}`~dict.get`.\n\n~~~\n# not a heading: os.path\n~~~\n\n' \
           b'## Own {#mine}\n[ref]: https://x.org/io.html#io.StringIO\n'
    assert said(sections_of(text, 'docs/a.md'))==[
        ('Guide', 4, 4, (), ()), ('Guide > Set', 6, 7, ('docs/a#set',), ()), # alone, it is its own text
        ('Guide > open(x)', 10, 15, ('docs/a#openx','open'), ('b#at','dict.get','os.path')), ('Guide > open(x) > Own', 18, 18, ('docs/a#mine',), ('io.StringIO',))]


def test_html():
    text = b'<!doctype html><title>No</title>\n<script>"</p>" < 1</script><h1 id="top">Head &amp; all</h1>\n<p>One\nline, <code>os.\nread()</code>.\n' \
           b'<table><tr><td>a<td>b</table><h3><a name=x></a>Sub</h3>text <a href="sub/b.html">b</a> <a href="mailto:x@y">m</a>'
    assert said(sections_of(text, 'a.html'))==[('Head & all', 3, 6, ('a#top',), ()), ('Head & all > Sub', 6, 6, ('a#x',), ('sub/b',))]
    assert [s.text for s in sections_of(text, 'a.html')]==['One line, os. read().\n\na\nb','text b m']


def test_notebooks():
    cells = [dict(cell_type='markdown', metadata={}, source=['# A\n','Text.\n','\n','# B\n','More.']),
             dict(cell_type='code', outputs=[dict(text='left out')], source='# no heading\nos.path.join()'), dict(cell_type='raw', source='raw'),
             dict(cell_type='markdown', source='## C\n`x_y`')]
    text = json.dumps(dict(metadata=dict(cells='none'), cells=cells), indent=1).encode()
    a,b,c = sections_of(text, 'n.ipynb')
    rows = text.decode().split('\n')
    assert [s.title for s in (a,b,c)]==['A','B','B > C'] and 'left out' not in b.text and b.refers==('os.path.join',) and c.refers==('x_y',)
    assert (a.first,a.last)==(b.first,a.last) and 'More.' in '\n'.join(rows[b.first-1:b.last]) and '## C' in '\n'.join(rows[c.first-1:c.last])
    assert rows[a.first-1].strip()==rows[b.last-1].strip().replace('}', '{').replace(',', '')=='{'


@pytest.mark.parametrize('text', ['', '[]', '{', '{"cells": {}}', '{"cells": [1]}', '{"cells": [{"source": 1, "cell_type": "code"}]}', '{"a": [], "b": 1}',
                                  '{"cells": [{"cell_type": "code"}]}', '['*10**5, '{"cells": '*10**5, 'null', '"cells"', '{"cells": [NaN]'])
def test_what_is_no_notebook(text):
    with pytest.raises(ValueError, match='is no notebook') as e: sections_of(text.encode(), 'a.ipynb')
    assert '\n' not in str(e.value)


def test_python():
    source = b'import xx\nclass A(xx.Base, metaclass=M):\n  "a"\n  def f(self): "`go`, self.go, read() and `Ab`, a line(s) of xx.Base"\n  def go(self): pass\ndef go(): ":func:`hi`"\nclass Ab: pass\n'
    assert said(docstrings(source, 'm'))==[('m.A',3,3,('m.A',),('m','xx.Base')), ('m.A.f',4,4,('m.A.f',),('m.A','m.A.go','m.Ab','xx.Base','read')), ('m.go',6,6,('m.go',),('m','hi'))]


def test_topics_are_parsed_and_not_run():
    text = b"import no_such_module\nother = {'a': 'b'}\ntopics = {'x': 'The \"x\"\\n' \n  '*******\\n\\n\"dict.get\"\\n\\n'\n'Sub\\n===\\n\\nobject.f(self)\\n\\n   See *The \"x\"*.', 'y': 1, **other}"
    assert said(topics(text))==[('topics.x',3,5,('x','the "x"'),('dict.get',)), ('topics.x > Sub',3,5,('sub','object.f'),('the "x"',))]
    assert topics(b'topics = 1')==[]
    with pytest.raises(ValueError, match='does not parse'): topics(b'topics = {')


NAMES = st.lists(st.from_regex(r'[a-z]\w{1,5}', fullmatch=True), min_size=1, max_size=4).map('.'.join)

@settings(max_examples=80, deadline=None)
@given(NAMES, st.sampled_from(['{}', '~{}', '!{}', '.{}', '{}()', '{}(key[, default])', ' {}\n', 'a title <{}>', 'see <~{}>']))
def test_a_name_has_one_form(name, way): assert name_of(way.format(name))==(name if name not in ('self','cls') else '')


LINES = st.sampled_from(['', ' ', 'Some words.', 'x'*900, 'y'*4100, '   '+'z'*700, '# H', '## `a.b`', 'Head', '====', '---', '--', '~~~~~~', '```', '::', '..', '.. _l:', '* a', '>>> 1',
    '.. class:: A(b)', '   .. method:: m()', '.. module:: q', '.. function::', '.. glossary::', '   term', '.. index::', ':func:`x', '`a', '[', '](b)', '---\r', '<h1>', '</h1>', '<p', '<!--',
    '<nav>', '<pre>', '<code>', '<div role="main">', '</div>', '<a href="', '"', '&#xD800;', '&amp', '{"cells": ['])

@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=14), st.sampled_from(['rst','md','html','txt']))
def test_sections_of_anything_have_lines_that_rise_and_lose_no_letter(lines, kind):
    text = '\n'.join(lines)
    found = sections_of(text.encode(), f'a/b.{kind}')
    rows = text.replace('\r', '').split('\n')
    for s in found:
        assert 1<=s.first<=s.last<=text.count('\n')+1 and s.text.strip() and s.title and len(s.text)<=LONG+1200
        assert not set(s.defines)&set(s.refers) and all(n and isinstance(n, str) for n in s.defines+s.refers)
        if kind in ('rst','md') and max(map(len, rows), default=0)<LONG and '\r' not in text:
            assert s.text==whole_title(s.title).rpartition(' > ')[2] or s.text=='\n'.join(r.rstrip() for r in rows[s.first-1:s.last]).rstrip()
    assert all(a.last<=b.first or kind=='html' and a.last<=b.last for a,b in zip(found, found[1:]))
    if kind=='txt': assert ''.join(''.join(s.text for s in found).split())==''.join(text.split())
    if kind=='rst': assert {w for w in re.findall('x{900}|z{700}|Some words', text)}<={w for s in found for w in re.findall('x{900}|z{700}|Some words', s.text+s.title)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 1500)), min_size=1, max_size=25))
def test_long_sections_are_cut_between_paragraphs(blocks):
    text = '\n\n'.join(' '*indent+'w'*size for indent,size in blocks)
    parts = sections_of(f'Title\n=====\n\n{text}'.encode(), 'a.rst')
    assert ''.join(p.text for p in parts).replace('\n', '').replace(' ', '')==text.replace('\n', '').replace(' ', '')
    for p in parts: assert len(p.text.replace('\n', ''))<=LONG+60 and whole_title(p.title)=='Title'
    assert [p.title for p in parts]==(['Title'] if len(parts)==1 else [f'Title ({i} of {len(parts)})' for i in range(1, len(parts)+1)])


def test_names_go_with_the_part_that_has_them():
    one = b'\n.. function:: {}(x)\n\n   '+b'w'*1500+b'\n'
    parts = sections_of(b'T\n===\n.. module:: m\n'+one.replace(b'{}', b'a')+one.replace(b'{}', b'b'), 'a.rst')
    assert [s.defines for s in parts]==[('m','m.a'),('m.b',)]


HOSTILE = '< |<a |<a "|<!--|<nav>|<div>|<!|<h1>|<code>|<a href="x|[|`|](|#|a.|aa.|_|:a:`|.. index::_|-_|a_-_|{|   .. class:: a_   |.. function:: f(_|``|\r|aB|.. glossary::_|&|<a b=\'|.. _|"'.split('|')

@pytest.mark.parametrize('kind', ['rst','md','html','txt'])
def test_no_text_takes_long(kind):
    for text in HOSTILE:
        began = time.process_time()
        sections_of((text.replace('_', '\n')*(40_000//len(text))+'x').encode(), f'a.{kind}')
        assert time.process_time()-began<3, (kind,text)


def test_plain_words(): assert plain('See :func:`~os.path.join`, :ref:`that <x>`, ``a  b`` and\n`c`_.')=='See join, that, a  b and\nc.'


def test_odd_headings():
    heads = lambda text: [s.title for s in sections_of(text.encode(), 'a.rst')]
    assert heads('Long title\n----\n\nx')==['Long title'] and heads('Long title\n--\n\nx')==['a.rst:1'] and heads('one\ntwo\n---\n\nx')==['a.rst:1']
    assert heads('====\n A\n====\n\nB\n=\n\nx\n\n----\n\ny\n\nC\n==\nz\n\n====\nD\n====\nw')==['A > B','A > C','D']
    assert heads('A\n=\n\nB\n-\n\nC\n=\n')==['A > B','C'] # headings alone are their own texts
    assert heads('=====  =====\na      b\n=====  =====\nc      d\n=====  =====')==['a.rst:1']


@pytest.mark.skipif(not SOURCES.exists(), reason='python3.11-doc is not installed')
def test_every_function_that_the_documents_of_python_refer_to_is_kept():
    "Each `:func:` by its line, and every text is what stands at its lines"
    corpus,counted = read_corpus(SOURCES),0
    assert not corpus.out and len(corpus.files)>400
    of = {}
    for i,(f,a,b) in enumerate(corpus.where.tolist()): of.setdefault(f, []).append((a,b,i))
    known = {n for those in corpus.defines for n in those}
    for f,path in enumerate(corpus.files):
        text = Path(path).read_text()
        rows = [r.rstrip() for r in text.split('\n')]
        for a,b,i in of.get(f, ()):
            alone = corpus.texts[i]==corpus.titles[i].rpartition(' > ')[2] # a heading without a text
            assert alone or corpus.texts[i]=='\n'.join(rows[a-1:b]) or max(map(len, rows[a-1:b]))>LONG, (path,a,b)
        for m in re.finditer(r'(?<![\w:]):func:`([^`]{1,300})`', text):
            line,name = text.count('\n', 0, m.start())+1,name_of(m[1])
            here = {n for a,b,i in of[f] if a<=line<=b for n in corpus.defines[i]+corpus.refers[i]}
            if not name or not here: continue # in a heading, or no name
            counted += 1
            assert name in here or any(f'.{n}'.endswith(f'.{name}') for n in here), (path,line,name)
    assert counted>5000
    assert {'gzip.open','dict.get','datetime.datetime','file object','PyList_New','-m','PYTHONPATH','http.client','PyTypeObject.tp_name'}<=known
    h = graph_of(corpus)
    assert h.n_edges==len(corpus) and (h.sizes>0).all()


def test_every_function_that_docstrings_of_python_refer_to_is_kept(python):
    corpus,roles = without_topics(python[0]),re.compile(r':(?:func|meth|class):`([^`\n]{1,90})`')
    counted = 0
    for text,made,said in zip(corpus.texts, corpus.defines, corpus.refers):
        for name in filter(None, map(name_of, roles.findall(text))):
            counted += 1
            assert any(f'.{n}'.endswith(f'.{name}') for n in made+said), name
    assert counted>10


def test_docstrings_and_topics_of_python(python):
    corpus,kept = python
    alone,t = without_topics(corpus),[i for i,t in enumerate(corpus.titles) if t.startswith('topics.')]
    assert len(alone)+len(t)==len(corpus) and alone.titles==[t for t in corpus.titles if not t.startswith('topics.')]
    path = Path(sysconfig.get_paths()['stdlib'])/'pydoc_data/topics.py'
    tree = ast.parse(path.read_bytes()).body[0].value
    assert {whole_title(corpus.titles[i]).split(' > ')[0] for i in t}=={f'topics.{k.value}' for k in tree.keys}
    lines = {k.value:[v.lineno,v.end_lineno] for k,v in zip(tree.keys, tree.values)}
    assert all(corpus.place(i)==dict(file=str(path), lines=lines[whole_title(corpus.titles[i]).split(' > ')[0][7:]]) for i in t)
    assert 'dictionary' in ''.join(corpus.texts[i] for i in t if corpus.titles[i].startswith('topics.typesmapping'))
    again = read_corpus('python', kept)
    assert (again.read,again.digest,again.refers)==(0,corpus.digest,corpus.refers)


@pytest.fixture
def folder(tmp_path):
    f = tmp_path/'texts'
    (f/'sub').mkdir(parents=True)
    (f/'a.md').write_text('# A\nSee `Thing.run`, [b](sub/b.rst) and `many`.')
    (f/'sub/b.rst').write_text('B\n=\n.. module:: mod\n.. class:: Thing\n\n   .. method:: run()\n   .. method:: many()\n')
    (f/'c.py').write_text('class C:\n    "`many` of :class:`Thing`, as `Nobodys` is"\n    def many(self): "`Nobodys`"')
    return f


def test_who_is_meant(folder):
    corpus = read_corpus(folder)
    e = entities_of(corpus)
    meant = {t:[Path(e.names[n]).name for n in r] for t,r in zip(corpus.titles, e.referred)}
    assert meant=={'A':['mod.Thing.run','b.rst'], 'c.C':['Nobodys','c.C.many','mod.Thing','c.py'], 'c.C.many':['Nobodys','c.C'], 'B':[]}
    assert 'Nobodys' not in entities_of(corpus, 3).names and 'many' not in entities_of(corpus, 1).names
    assert [corpus.titles[i] for i in e.homes()[e.names.index('mod.Thing')]]==['B']
    assert all(e.kinds[f]=='file' and e.names[f]==corpus.place(i)['file'] for i,f in enumerate(e.files))


def test_the_hypergraph_has_an_edge_for_each_text(folder):
    corpus,e = read_corpus(folder),entities_of(read_corpus(folder))
    h = graph_of(corpus, weights=np.arange(1., 5))
    assert h.n_edges==len(corpus)==4 and h.edge_names==tuple(corpus.titles) and h.weights.tolist()==[1,2,3,4]
    for i in range(4): assert set(h.members[h.edge_starts[i]:h.edge_starts[i+1]].tolist())=={*e.defined[i],*e.referred[i],e.files[i]}
    with pytest.raises(CheckError, match='least'): graph_of(corpus, 0)
    with pytest.raises(CheckError, match='weights'): graph_of(corpus, weights=np.ones(2))
    with pytest.raises(CheckError, match='weights'): graph_of(corpus, weights=np.array([1,1,np.nan,1]))


TEXTS = st.lists(st.tuples(st.sampled_from(['a','b','a #1','x.y','A']), st.lists(NAMES, max_size=3), st.lists(NAMES|st.just('a'), max_size=4), st.integers(0, 2)), min_size=1, max_size=8)

@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_a_graph_of_any_names(texts):
    names = lambda those: tuple(dict.fromkeys(those))
    c = Corpus('x', [t for t,*_ in texts], ['w']*len(texts), ['f','g/h.md','a'], np.array([[f,1,1] for *_,f in texts]), {}, 0, [names(d) for _,d,_,_ in texts], [names(r) for *_,r,_ in texts])
    h = graph_of(c)
    assert h.n_edges==len(c) and h.node_kinds.count('file')==3 and graph_of(c.part(np.arange(len(c))))==h
    defined = {n for _,d,*_ in texts for n in d}
    assert defined-{'f','a'}<={n for n,k in zip(h.node_names, h.node_kinds) if k=='name'}
    assert set(h.node_names)-{'f','g/h.md','a'}<=defined|{n for *_,r,_ in texts for n in r}


def test_what_an_earlier_version_kept_is_read_again_and_said_to_be(folder, tmp_path):
    kept = tmp_path/'kept'
    want = read_corpus(folder, kept)
    d,head = load_tensors(kept, 'quarantion corpus', 2)
    save_tensors(kept, {k:d[k] for k in ('titles','texts','stamps','where')}, head|dict(version=1))
    with pytest.warns(UserWarning, match='all files are read again') as said: again = read_corpus(folder, kept)
    assert len(said)==1 and again.read==3 and again.digest==want.digest and read_corpus(folder, kept).read==0


def test_a_file_that_is_gone_has_no_texts_and_names_are_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(C, '_TICK', 0)
    want = read_corpus(folder, tmp_path/'kept')
    again = read_corpus(folder, tmp_path/'kept')
    assert (again.read,again.defines,again.refers)==(0,want.defines,want.refers) and any(want.defines)
    (folder/'sub/b.rst').unlink()
    less = read_corpus(folder, tmp_path/'kept')
    assert less.read==0 and 'mod.Thing' not in {n for those in less.defines for n in those} and less.digest==read_corpus(folder).digest


def test_names_alone_change_the_digest(folder, tmp_path):
    (folder/'d.html').write_text('<a href="a.html">x</a>')
    first = read_corpus(folder).digest
    (folder/'d.html').write_text('<a href="b.html">x</a>')
    assert read_corpus(folder).digest!=first


def test_a_function_of_ones_own(folder, tmp_path):
    (folder/'d.bin').write_bytes(b'\0words')
    (folder/'e.bin').write_bytes(b'\0')
    def own(path, data):
        if not path.endswith('.bin'): return None
        if data==b'\0': raise ValueError('says nothing')
        return [Section('bin', 1, 2, data.decode(), ('bin',), ('mod.Thing',)), Section('blank', 1, 1, ' ')]
    c = read_corpus(folder, tmp_path/'kept', own)
    i = c.titles.index('bin')
    assert (c.texts[i],c.defines[i],c.refers[i],c.place(i)['lines'])==(' words',('bin',),('mod.Thing',),[1,2]) and len(c)==5
    assert {Path(p).name:w for p,w in c.out.items()}=={'e.bin':'says nothing'}
    assert read_corpus(folder, tmp_path/'kept', own).digest==c.digest
    assert len(read_corpus(folder, tmp_path/'kept'))==4 and len(read_corpus(folder, tmp_path/'kept', own))==5 # another one reads again


@pytest.mark.parametrize('bad', [lambda p,d: 1, lambda p,d: [('a',1,1,'b')], lambda p,d: [Section('a', 0, 1, 'b')], lambda p,d: [Section('a', 1, 1, 'b', 'names')], lambda p,d: [Section('a', 1, 1, b'b')],
                                 lambda p,d: 1/0, lambda: [], 'name', lambda p,d: [Section('a', 1., 1, 'b')], lambda p,d: [Section('a', 1, 1, 'b', (1,))]])
def test_a_function_that_gives_something_else_is_refused(folder, bad):
    with pytest.raises(CheckError, match='extract') as e: read_corpus(folder, extract=bad)
    assert '\n' not in str(e.value)


def test_files_that_vanish_or_cannot_be_listed_are_named(folder, monkeypatch):
    real,gone = open,str(folder/'a.md')
    def vanish(path, *a, **k):
        if path==gone: os.unlink(gone)
        return real(path, *a, **k)
    monkeypatch.setattr('builtins.open', vanish)
    scan = os.scandir
    def shut(p):
        if os.fspath(p)==str(folder/'sub'): raise PermissionError(13, 'Permission denied', os.fspath(p))
        return scan(p)
    monkeypatch.setattr(os, 'scandir', shut)
    c = read_corpus(folder)
    assert {Path(p).name:w for p,w in c.out.items()}=={'a.md':'cannot be read: No such file or directory', 'sub':'is a folder that cannot be listed'} and len(c)==2


def test_a_file_that_grows_while_it_is_read_is_left_out(folder, monkeypatch):
    monkeypatch.setattr(C, 'MOST_BYTES', 2**20)
    monkeypatch.setattr(C, '_stamp', lambda path: (1,1))
    (folder/'a.md').write_bytes(b'x'*(2**20+1))
    assert list(read_corpus(folder).out.values())==['is larger than 1 MiB']


def test_parts_of_a_corpus(folder):
    c = read_corpus(folder)
    p = c.part([2,0])
    assert p.titles==[c.titles[2],c.titles[0]] and p.place(1)==c.place(0) and p.refers==[c.refers[2],c.refers[0]] and len(c.part(np.arange(4)>2))==1
    for bad in [9], [-1], [.5], [[0]], [True]:
        with pytest.raises(CheckError, match='ids'): c.part(bad)
    with pytest.raises(CheckError, match='defines'): Corpus('x', ['a'], ['b'], ['f'], np.zeros((1,3), int), {}, 0, [])
