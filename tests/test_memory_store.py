"A store is a dictionary that loses nothing: killed at any moment, cut, flipped, full; a loop that stores nothing by half"
import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quarantion.checks import CheckError, fail
from quarantion.memory.blocks import open_store
from quarantion.memory.index import Index
from quarantion.memory.loop import Gate, Loop, fit_gate, judge_bar
from store_driver import D, add, held, payload, vector

@contextmanager
def refused(*words):
    with pytest.raises(CheckError) as e: yield
    said = str(e.value)
    assert '\n' not in said and ': expected ' in said and ', found ' in said, said
    for w in words: assert w in said, said


# Killed

def killed(path, times, seed):
    r = subprocess.run([sys.executable, Path(__file__).with_name('store_driver.py'), path, f'{times}', f'{seed}'], capture_output=True, text=True)
    assert r.returncode==0, r.stderr
    return json.loads(r.stdout)


def test_killed_at_any_moment_a_store_has_what_it_acknowledged(tmp_path):
    found = killed(tmp_path/'s', 16, 0)
    assert found['kills']==16 and found['changes']>16 and found['middle']>=3, found


@pytest.mark.soak
def test_killed_for_long(tmp_path):
    found = killed(tmp_path/'s', 500, 1)
    assert found['middle']>=100, found


DIES = r'''/* Preloaded: a process dies before the n-th change of a file that sqlite asks of the system */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

static long left = 0;

long dies_before(long n) { long was = left; left = n; return was; }

static void change(void) { if (left && --left==0) kill(getpid(), SIGKILL); }

#define PASS(name, args, given) \
    int name args { static int (*real) args; change(); if (!real) real = dlsym(RTLD_NEXT, #name); return real given; }

PASS(ftruncate64, (int fd, off_t n), (fd, n))
int fdatasync(int fd) { (void) fd; change(); return 0; } /* what was written outlives a process without it */
PASS(unlink, (const char *path), (path))

ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    change();
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    return real(fd, data, n, at);
}
'''

def test_killed_before_each_change_of_a_file(tmp_path):
    "A pack is done before what it does without is cut off: the file is longer than its store, which opens"
    if shutil.which('gcc') is None or sys.platform!='linux': pytest.skip('no gcc (apt-get install gcc)')
    (tmp_path/'dies.c').write_text(DIES)
    dies = tmp_path/'dies.so'
    subprocess.run(['gcc','-shared','-fPIC','-o',dies,tmp_path/'dies.c','-ldl'], check=True)
    r = subprocess.run([sys.executable, Path(__file__).with_name('store_moments.py'), tmp_path, dies], capture_output=True, text=True, env=os.environ|dict(LD_PRELOAD=str(dies)))
    assert r.returncode==0, r.stderr
    found = json.loads(r.stdout)
    assert all(f['moments']>10 for f in found.values()) and found['pack']['longer'], found


def test_files_as_they_are_in_the_middle_of_a_change(tmp_path):
    "A copy of the file and its journal before each statement is the old store or the new one"
    path,seen = tmp_path/'s',[]
    with open_store(path, D) as store:
        add(store, *'abcdefgh')
        store.keep()
        def copied(said):
            to = tmp_path/f'{len(seen)}'/'s'
            to.parent.mkdir()
            seen.append(said)
            for end in '','-journal','.index':
                if os.path.exists(f'{path}{end}'): shutil.copy(f'{path}{end}', f'{to}{end}')
        store._rows.con.set_trace_callback(copied)
        old = set(store.names())
        add(store, 'a', 'x', 'y', replace=True)
        store.remove(['b','c'])
        store.keep()
        store._rows.con.set_trace_callback(None)
    middle = old|{'x','y'}
    assert len(seen)>20
    for i in range(len(seen)):
        with open_store(tmp_path/f'{i}'/'s') as store: assert {*held(store)} in (old, middle, middle-{'b','c'})


# A dictionary

class LikeADict(RuleBasedStateMachine):
    names = st.lists(st.one_of(st.sampled_from('abcdef'), st.text(st.characters(exclude_categories=['Cs']), max_size=4)), min_size=1, max_size=5, unique=True)

    def __init__(self):
        super().__init__()
        self.folder = Path(os.environ.get('TMPDIR', '/tmp'))/f'store-{os.urandom(6).hex()}'
        self.folder.mkdir()
        self.store,self.like = open_store(self.folder/'s', D, 'mine'),{}

    def teardown(self):
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(names=names, replace=st.booleans())
    def add(self, names, replace):
        if not replace and self.like.keys()&{*names}:
            with refused('that are not taken'): add(self.store, *names)
        else:
            add(self.store, *names, replace=replace)
            self.like |= {n: payload(n) for n in names}

    @rule(names=names)
    def remove(self, names):
        if {*names}-self.like.keys():
            with refused('that are there'): self.store.remove(names)
        else:
            self.store.remove(names)
            for n in names: del self.like[n]

    @rule(data=st.data())
    def remove_some(self, data):
        some = data.draw(st.lists(st.sampled_from(sorted(self.like)), unique=True)) if self.like else []
        self.store.remove(some)
        for n in some: del self.like[n]

    @rule()
    def pack(self): self.store.pack()

    @rule()
    def keep(self): self.store.keep()

    @rule()
    def open_again(self):
        self.store.close()
        self.store = open_store(self.folder/'s', identity='mine')

    @rule(a=st.text('abcdef', max_size=2), b=st.text('abcdef', max_size=2))
    def between(self, a, b): assert self.store.names(a, b)==sorted(n for n in self.like if a<=n<b)

    @precondition(lambda self: self.like)
    @rule(seed=st.integers(0, 99))
    def search(self, seed):
        q,k = np.random.default_rng(seed).normal(size=D),min(3, len(self.like))
        near,x = self.store.search(q, k),{n: vector(n)/np.linalg.norm(vector(n)) for n in self.like}
        want = sorted((x[n]@q/np.linalg.norm(q) for n in x), reverse=True)[:k]
        np.testing.assert_allclose(near.scores, want, atol=1e-6)
        assert near.payloads==[self.like[n] for n in near.names]

    @invariant()
    def same(self):
        names = self.store.names()
        assert len(self.store)==len(self.like) and names==sorted(self.like, key=lambda n: n.encode())
        assert {n: self.store[n] for n in names}==self.like


TestLikeADict = LikeADict.TestCase
TestLikeADict.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)


def test_an_index_that_follows_finds_what_a_new_one_finds(tmp_path):
    rng = np.random.default_rng(0)
    x,q = rng.normal(size=(300,D)),rng.normal(size=(20,D))
    with open_store(tmp_path/'s', D) as store:
        for a in range(0, 300, 30):
            store.add([f'{i}' for i in range(a, a+30)], [b'']*30, x[a:a+30])
            store.search(q[0], 1)
            store.remove([f'{i}' for i in range(a, a+30, 3)])
        near = [store.search(v, 5) for v in q]
    assert (tmp_path/'s.index').exists()
    for build in range(3): # by the index that was kept, by a new one, by one that caught up
        with open_store(tmp_path/'s') as store:
            for a,b in zip(near, (store.search(v, 5) for v in q)): assert a.names==b.names and (a.scores==b.scores).all()
            if build==1: store.keep(); add(store, 'new'); store.remove(['new'])
        if build==0: (tmp_path/'s.index').unlink()
    with open_store(tmp_path/'s') as store: assert store._changed<20 # an eighth is not new


# Damaged, full, of others

@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp('whole')/'s'
    with open_store(path, D, 'mine') as store:
        add(store, *(f'name {i}' for i in range(30)))
        store.remove([f'name {i}' for i in range(0, 30, 4)])
        store.keep()
        return path,held(store)


def test_no_byte_changes_unseen(whole, tmp_path):
    path,have = whole
    data,rng,found = path.read_bytes(),random.Random(0),0
    shutil.copy(f'{path}.index', tmp_path/'s.index')
    for at in [*range(100), *rng.sample(range(100, len(data)), 250)]:
        bad = bytearray(data)
        bad[at] ^= 1<<rng.randrange(8)
        (tmp_path/'s').write_bytes(bad)
        try:
            with open_store(tmp_path/'s', identity='mine') as store:
                assert {n: store[n] for n in store.names()}==have and len(store.names())==len(store)
        except CheckError as e:
            assert '\n' not in str(e)
            found += 1
    assert found>100


@pytest.mark.parametrize('keep', [0, 1, 99, 100, 512, 4095, 4096, 8192, -4096, -1])
def test_a_file_that_was_cut_is_refused(whole, tmp_path, keep):
    (tmp_path/'s').write_bytes(whole[0].read_bytes()[:keep])
    with refused(str(tmp_path/'s')): open_store(tmp_path/'s')


def test_an_index_that_is_not_of_this_store_is_refused(whole, tmp_path):
    for end in '','.index': shutil.copy(f'{whole[0]}{end}', f'{tmp_path/"s"}{end}')
    Index(np.eye(D)).save(tmp_path/'other')
    data = (tmp_path/'s.index').read_bytes()
    for bad in (tmp_path/'other').read_bytes(), data[:-1], data[:500]+bytes([data[500]^1])+data[501:], b'':
        (tmp_path/'s.index').write_bytes(bad)
        with refused('s.index', 'of this store'): open_store(tmp_path/'s')
    (tmp_path/'s.index').unlink()
    with open_store(tmp_path/'s') as store: assert held(store)==whole[1]


def test_other_files_are_refused(tmp_path):
    con = sqlite3.connect(tmp_path/'other')
    con.execute('CREATE TABLE items(a)')
    con.commit()
    con.close()
    (tmp_path/'text').write_text('notes '*999)
    (tmp_path/'folder').mkdir()
    (tmp_path/'link').symlink_to('text')
    os.mkfifo(tmp_path/'fifo')
    for name in 'other','text','folder','link','fifo':
        with refused(name): open_store(tmp_path/name, D)
    with refused('dims'): open_store(tmp_path/'new')
    with refused('dims'): open_store(tmp_path/'new', 1)
    with refused('text'): open_store(tmp_path/'text'/'new', D)
    with refused('plan'): # is not there, and nothing is lost
        with open_store(tmp_path/'new', D, plan='none') as store: add(store, 'a'); store.search(vector('a'), 1)
    open_store(tmp_path/'new', D).close()


def test_rows_that_somebody_else_wrote_are_found(whole, tmp_path):
    for change in ('DELETE FROM items WHERE id=2', "UPDATE items SET payload=x'00' WHERE id=2", "UPDATE items SET name='x' WHERE id=2",
                   'UPDATE items SET mark=0 WHERE id=2', "UPDATE items SET x=x'' WHERE id=2", "UPDATE items SET payload='text' WHERE id=2",
                   'UPDATE about SET dims=2', "UPDATE about SET identity='other'", 'DELETE FROM about', 'INSERT INTO about SELECT * FROM about',
                   'CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END', 'PRAGMA user_version=9', 'PRAGMA application_id=0'):
        shutil.copy(whole[0], tmp_path/'s')
        con = sqlite3.connect(tmp_path/'s', isolation_level=None)
        con.execute(change)
        con.close()
        with refused(str(tmp_path/'s')): open_store(tmp_path/'s', identity='mine')


def test_a_full_disk_is_one_line_and_changes_nothing(tmp_path):
    with open_store(tmp_path/'s', D) as store:
        add(store, *'abc')
        store.search(vector('a'), 1)
        store._rows.con.execute(f'PRAGMA max_page_count={store._rows.con.execute("PRAGMA page_count").fetchone()[0]+2}')
        with refused('room on the disk', 'full'): store.add([f'{i}' for i in range(999)], [b'x'*999]*999, np.ones((999,D)))
        assert {*held(store)}=={*'abc'}
        add(store, 'd')
    with open_store(tmp_path/'s') as store: assert {*held(store)}=={*'abcd'}


def test_a_file_that_may_not_grow_is_one_line_and_changes_nothing(tmp_path):
    "As on a disk that is full, by a limit of the process"
    import resource
    with open_store(tmp_path/'s', D) as store:
        add(store, *'abc')
        was = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(tmp_path/'s')+8192,was[1]))
        try:
            with refused('s: store'): store.add([f'{i}' for i in range(99)], [b'x'*9999]*99, np.ones((99,D)))
            with refused('saving', os.strerror(errno.EFBIG)): # an index has no room
                store._beside = tmp_path/'other'
                Index.save,save = lambda self, path: __import__('quarantion.files', fromlist=['x']).write_atomic(path, bytes(10**6)),Index.save
                try: store.keep()
                finally: Index.save = save
            assert {*held(store)}=={*'abc'}
        finally: resource.setrlimit(resource.RLIMIT_FSIZE, was)
    with open_store(tmp_path/'s') as store: assert {*held(store)}=={*'abc'}


def test_a_second_process_is_refused(tmp_path):
    with open_store(tmp_path/'s', D):
        with refused('no other process'): open_store(tmp_path/'s')
    open_store(tmp_path/'s').close()


@pytest.mark.parametrize('bad,words', [
    (dict(names=['a'], payloads=[b''], x=np.zeros((1,D))), 'direction'),
    (dict(names=['a'], payloads=[b''], x=np.full((1,D), np.nan)), 'direction'),
    (dict(names=['a'], payloads=[b''], x=np.ones((1,D+1))), f'{D} numbers'),
    (dict(names=['a','a'], payloads=[b'']*2, x=np.ones((2,D))), 'each once'),
    (dict(names=['a','b'], payloads=[b''], x=np.ones((2,D))), 'one for each'),
    (dict(names=['a'], payloads=['text'], x=np.ones((1,D))), 'bytes'),
    (dict(names=[1], payloads=[b''], x=np.ones((1,D))), 'str'),
    (dict(names=['\udc80'], payloads=[b''], x=np.ones((1,D))), 'surrogate'),
])
def test_bad_items_are_refused_and_nothing_is_stored(tmp_path, bad, words):
    with open_store(tmp_path/'s', D) as store:
        add(store, 'there')
        with refused(words): store.add(**bad)
        assert {*held(store)}=={'there'}
        with refused('k'): store.search(vector('a'), 2)
        with refused('q'): store.search(np.ones(D-1))
        with refused('names'): store.remove(['a'])
        with refused('each once'): store.remove(['there','there'])
        with refused('name'): store['a']
        store.remove(['there'])
        with refused('k'): store.search(vector('a'), 1)
        store.keep()


# The loop

WORDS = 'open close read write file book lamp shop number picture'.split()


def by_words(texts): return np.array([[t.lower().count(w) for w in WORDS] for t in texts], np.float32)


class Tool:
    def __init__(self, says=lambda q: f'about {q}'): self.says,self.asked = says,[]

    def __call__(self, question):
        self.asked.append(question)
        return self.says(question)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path/'answers', len(WORDS)) as s: yield s


def test_what_a_name_cannot_be_is_not_blamed_on_the_store(tmp_path):
    s = open_store(tmp_path/'a.db', 4)
    for f in (lambda: s.add(['\ud800'], [b''], np.eye(4)[:1]), lambda: s['\ud800'], lambda: s.names('\ud800')):
        with pytest.raises(CheckError, match='expected text of UTF-8'): f()
    s.close()
    with pytest.raises(CheckError, match='expected an open one'): s['a']


def test_texts_and_bytes_of_numpy_are_kept(store):
    s,_ = store if isinstance(store, tuple) else (store,None)
    ask = Loop(s, lambda texts: np.ones((1,s.dims)), lambda question: np.bytes_(b'said'), Gate(2.))
    assert ask(np.str_('how is it said?')).answer==b'said' and s['how is it said?']==b'said' and ask('how is it said?').hit


def test_names_of_other_kinds_are_not_there(tmp_path):
    with open_store(tmp_path/'a.db', 4) as s:
        s.add(['1'], [b''], np.eye(4)[:1])
        for bad in ([1], [[1]], [{}], [None], ['1',[]]):
            with pytest.raises(CheckError, match='`names`: expected names that are there'): s.remove(bad)
        assert s.names()==['1']


def test_a_gate_is_lowered_by_arousal():
    assert [round(Gate().bar(a), 12) for a in (1, .8, .5, .2, 0)]==[.3, .36, .45, .54, .6]
    assert Gate(.2).bar(1)==.1 and Gate(.97).bar()==.97 and Gate(.5).bar(.5)==.35
    assert not Gate().passes('open it', .99) and Gate(least=0).passes('open it', .99) and not Gate().passes('x'*9+' '*9, 1.)
    for bad in dict(arousal=-.1), dict(arousal=1.1), dict(arousal=float('nan')):
        with pytest.raises(CheckError): Gate().bar(**bad)
    for bad in dict(base=-2), dict(sensitivity=-1), dict(least=-1), dict(lead=-1.), dict(base='.6'):
        with pytest.raises(CheckError): Gate(**bad)


def test_a_near_question_is_a_hit_and_a_far_one_goes_to_the_tool(store):
    tool = Tool()
    loop = Loop(store, by_words, tool, Gate(.9))
    a = loop('open the file and read it')
    assert not a.hit and a.text=='about open the file and read it' and store[a.name]==a.answer
    b = loop('please read what the file has: open it')
    assert b.hit and b.answer==a.answer and b.name==a.name and b.score>.99 and len(tool.asked)==1
    c = loop('close the book in the shop')
    assert not c.hit and c.score==0 and len(tool.asked)==2
    d = loop('read the file in the shop')
    assert not d.hit and a.score<d.score<.9 and len(store)==3
    assert loop('write to the file, read and open it', arousal=1.).hit and not loop('write to the file, read and open it').hit


def test_a_lead_is_over_the_next_that_says_something_else(store):
    texts = 'open the file and read it', 'read and open a file', 'open and read the book'
    store.add([*texts], [b'one',b'one',b'two'], by_words(texts))
    loop,q = Loop(store, by_words, Tool(), Gate(1.1, lead=1.)),'file: how to read, how to open?'
    a,b = loop(q, 1.),by_words([q])[0]
    cos = sorted(((x@b)/np.sqrt(x@x*(b@b)) for x in by_words(texts)), reverse=True)
    assert a.hit and abs(a.score-(2*cos[0]-cos[2]))<1e-6 and cos[0]-cos[1]<1e-6
    equal = loop('how do I open and read it')
    assert a.answer==b'one' and not equal.hit and abs(equal.score-np.sqrt(2/3))<1e-6 # as near to all: none is meant
    store.remove([texts[2],equal.name])
    assert abs(loop(q, .9).score-cos[0])<1e-6 # nothing else to be ahead of


def test_its_own_words_are_a_hit_whatever_the_bar(store):
    loop = Loop(store, by_words, Tool(), Gate(1.))
    assert not loop('open?').hit
    assert loop('open?').hit and loop('open?').score==1 and len(loop.tool.asked)==1
    assert not loop('open!').hit # too short to be near


def test_without_a_direction_nothing_is_compared_or_kept(store):
    loop = Loop(store, by_words, Tool(lambda q: b'\xff'))
    for _ in range(2): assert loop('what is the meaning of this')[:3]==(b'\xff',False,0.)
    assert len(store)==0 and len(loop.tool.asked)==2 and loop('what is the meaning of this').name==''


@pytest.mark.parametrize('embed', [lambda t: np.ones((1,9)), lambda t: np.ones((2,10)), lambda t: np.ones(10), lambda t: None, lambda t: [['a']*10],
                                   lambda t: np.full((1,10), np.nan), lambda t: 1/0, lambda t: np.ones((1,10), complex)])
def test_an_embedder_that_does_not_fit_is_refused(store, embed):
    tool = Tool()
    with pytest.raises(CheckError, match='embedder') as e: Loop(store, embed, tool)('open the file')
    assert '\n' not in str(e.value) and not tool.asked and len(store)==0


@pytest.mark.parametrize('says', [lambda q: None, lambda q: 1, lambda q: 1/0, lambda q: ['text'], lambda q: '\udc80', lambda q: bytearray(b'x')])
def test_a_tool_that_fails_stores_nothing(store, says):
    with refused('tool'): Loop(store, by_words, Tool(says))('open the file')
    assert len(store)==0 and store.names()==[]
    assert Loop(store, by_words, Tool())('open the file').text=='about open the file'


def test_a_store_of_another_embedder_is_refused(tmp_path):
    def embed(texts): return by_words(texts)
    embed.digest = 'one'
    with open_store(tmp_path/'s', len(WORDS), 'another') as s:
        with refused('embedder', 'another'): Loop(s, embed, str.upper)
    for bad in dict(embed=None, tool=str), dict(embed=str, tool=1):
        with open_store(tmp_path/'s') as s, refused('a callable'): Loop(s, **bad)


def test_a_stop_in_the_tool_passes_through_and_stores_nothing(store):
    def stop(q): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): Loop(store, by_words, stop)('open the file')
    assert len(store)==0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=300), st.sampled_from([.3,.5,.8,.9]))
def test_a_fitted_bar_is_the_lowest_that_keeps_to_its_precision(asked, precision):
    scores,right = np.array([s/20 for s,_ in asked]),np.array([r for _,r in asked])
    def sure(bar): # Wilson's interval, two standard errors, as it stands in books
        n,p = (scores>=bar).sum(),right[scores>=bar].mean()
        return (p+4/(2*n)-2*np.sqrt((p*(1-p)+4/(4*n))/n))/(1+4/n)
    good = [b for b in np.unique(scores) if sure(b)>=precision+1e-9]
    try: bar = fit_gate(scores, right, precision).base
    except CheckError: assert not good
    else:
        assert sure(bar)>=precision-1e-9 and (not good or bar<=good[0])
        j = judge_bar(bar, scores, right, np.ones(len(scores), bool))
        assert j.precision>=precision and np.isnan(j.miss_recall) and j.questions==len(scores)


def test_bars_of_nothing_are_refused():
    for bad in dict(scores=[], right=[]), dict(scores=[.5], right=[1]), dict(scores=[.5], right=[True,False]), dict(scores=[np.nan], right=[True]), \
               dict(scores=[[.5]], right=[[True]]), dict(scores=[.5], right=[False]), dict(scores=[.5], right=[True], precision=0), dict(scores=[.5], right=[True], precision=2):
        with pytest.raises(CheckError): fit_gate(**bad)
    with pytest.raises(CheckError, match='none is there'): judge_bar(.5, [.5], [True], [False])


def test_an_answer_that_cannot_be_kept_is_not_lost(tmp_path):
    with open_store(tmp_path/'store', 3) as store:
        loop = Loop(store, lambda texts: np.eye(3, dtype=np.float32)[:1].repeat(len(texts), 0), lambda q: f'said {q}')
        store.add = lambda *a, **kw: fail('store', 'here', 'room', 'none')
        with pytest.raises(CheckError, match='room') as e: loop('why')
        assert e.value.answer==b'said why'
