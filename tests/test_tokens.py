"Tokenizers: equal to `tokenizers` merge by merge, to brute force with every factor; any bytes come back; bad files are refused"
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from tokenizers import Tokenizer as Theirs, decoders, models, pre_tokenizers, trainers

from quarantion.checks import CheckError
from quarantion.language.foreign import any_tokenizer
from quarantion.language.merge import merges_in, slow_merges, train_tokenizer
from quarantion.language.pieces import BYTES, _in_ascii, count_pieces, cut_text
from quarantion.language.texts import held_out, read_texts
from quarantion.language.tokenizer import Tokenizer, in_tokenizers, json_of, load_tokenizer, save_tokenizer

LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)


def theirs(texts, vocab):
    t = Theirs(models.BPE())
    t.pre_tokenizer,t.decoder = LEVEL,decoders.ByteLevel()
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=LEVEL.alphabet(), show_progress=False))
    return t


def model(t): return json.loads(t.to_str() if isinstance(t, Theirs) else json_of(t))['model']


@pytest.fixture(scope='module')
def topics(): return read_texts()


# pieces

def test_every_character_is_of_the_kind_that_tokenizers_has():
    "Those before Unicode 17: characters of one kind are one piece, and pieces have one kind"
    chars = [chr(i) for i in range(128, 0x110000) if not 0xd800<=i<0xe000]
    kinds = _in_ascii(''.join(chars))
    for kind in 'A0!\t':
        some = [c for c,k in zip(chars, kinds) if k==kind]
        for i in range(0, len(some), 20000): assert len(LEVEL.pre_tokenize_str(''.join(some[i:i+20000])))==1, (kind, i)


@settings(max_examples=300, deadline=None)
@given(st.text(st.one_of(st.sampled_from("a'stlve \n\t\x1c\x85 é²Ⅷ1½_-\u3000"), st.characters(exclude_categories=['Cs','Cn'])), max_size=40))
def test_pieces_are_those_of_tokenizers(text):
    cut = cut_text(text)
    assert b''.join(cut)==text.encode() and len(cut)==len(LEVEL.pre_tokenize_str(text))
    assert [text[a:b].encode() for _,(a,b) in LEVEL.pre_tokenize_str(text)]==cut


# merges

def test_by_counts_alone_it_is_tokenizers_on_two_corpora(topics):
    "Merge by merge, ids and all, until nothing is left to merge"
    import ast
    from pathlib import Path
    code = [p.read_text('utf8') for p in sorted(Path(ast.__file__).parent.glob('[a-c]*.py'))]
    for texts in topics,code: assert model(train_tokenizer(texts, 6000))==model(theirs(texts, 6000))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab"), max_size=30)|st.text(st.sampled_from("aab 's"), max_size=40)|st.text(max_size=12), min_size=1, max_size=6), st.integers(256, 340))
@example(['aaaa aaa aa a aaaaaaa'], 300)
@example(['ababab abab bababa'], 300)
def test_ties_and_tokens_that_come_back_are_as_in_tokenizers(texts, vocab):
    if not any(texts): return
    assert model(train_tokenizer(texts, vocab))==model(theirs(texts, vocab))


FACTORS = st.tuples(st.sampled_from([0.,.5,1.,2.]), st.sampled_from([0.,.3,2.]), st.booleans())

@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(st.sampled_from('abc'), min_size=1, max_size=12).map(str.encode), st.integers(1, 9), min_size=1, max_size=12),
       st.integers(256, 290), FACTORS, st.booleans(), st.integers(0, 99))
@example({b'aaaaaa':1, b'aaa':2}, 280, (0.,0.,True), False, 0)
@example({b'abab':1, b'bab':1, b'abcabc':1}, 280, (1.,0.,True), False, 0)
def test_with_factors_it_is_the_arg_max_of_all_pairs(counts, vocab, how, attended, seed):
    "Rescanning and scoring all pairs at each merge gives the same merges, to the last bit of the scores"
    roots = np.random.default_rng(seed).dirichlet(np.ones(4), 256) if how[1] else np.zeros((0,0))
    attend = (lambda a, b: (len(a)+2*len(b))%5/2) if attended else None
    if how==(0,0,False) and not attended: how = (1.,0.,False)
    assert merges_in(counts, vocab, how, roots, attend)==slow_merges(counts, vocab, how, roots, attend)


@pytest.mark.parametrize('how', [(1.,0.,False), (2.,0.,False), (0.,0.,True), (1.,0.,True)])
def test_with_factors_it_is_the_arg_max_on_real_text(topics, how):
    counts = count_pieces(topics[:6])
    found = merges_in(counts, 256+120, how)
    assert found==slow_merges(counts, 256+120, how) and found!=merges_in(counts, 256+120)


def test_factors_are_refused_by_name_or_work():
    texts,p = ['the tide is high at noon'],np.full((256,2), .5)
    for bad,said in ((dict(tau=1), '`basins`: expected points'), (dict(basins=p), '`tau`'), (dict(tau=1, basins=p*2), 'rows that add up to 1, found 2'),
                     (dict(tau=1, basins=p[:9]), 'with byte=256'), (dict(tau=1, basins=p-[1,-1]), 'no number below 0'), (dict(tau=1, basins=p*np.nan), 'finite'),
                     (dict(attention=3), '`attention`'), (dict(attention=lambda a, b: -1), '`attention`: expected a number from 0 on, found -1'),
                     (dict(attention=lambda a, b: None), '`attention`'), (dict(alpha=-1), '`alpha`'), (dict(tau=np.inf, basins=p), '`tau`'), (dict(vocab=255), '`vocab`')):
        with pytest.raises(CheckError, match=said): train_tokenizer(texts, **dict(vocab=270)|bad)
    same = train_tokenizer(texts, 270)
    assert train_tokenizer(texts, 270, tau=1, basins=p)==train_tokenizer(texts, 270, attention=lambda a, b: 1)
    assert sorted(train_tokenizer(texts, 300, attention=lambda a, b: a!=b'h').vocab)!=sorted(same.vocab)
    for bad in [],[''],'text',[3],['\ud800']:
        with pytest.raises(CheckError, match='text'): train_tokenizer(bad, 300)


# encoding and files

@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60)|st.text(max_size=30).map(str.encode))
def test_any_bytes_come_back(data):
    tok = train_tokenizer([b'the tide \xff\xff\xff \xc3\xc3', 'naïve naïve 東京 東京'], 290)
    assert tok.decode(tok.encode(data))==data and all(tok.decode([i])==t for i,t in enumerate(tok.vocab))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.sampled_from('aab'), max_size=20), min_size=1, max_size=4), st.text(st.sampled_from('aab '), max_size=40))
def test_codes_are_those_of_tokenizers_whatever_was_merged(texts, text):
    if not any(texts): return
    tok = train_tokenizer(texts, 300)
    assert in_tokenizers(tok).encode(text).ids==tok.encode(text)


def test_tokenizers_loads_the_file_and_gives_the_same_codes(topics, tmp_path):
    known,held = held_out(topics, 0)
    for kw in dict(),dict(alpha=1.),dict(entropy=True):
        tok = train_tokenizer(known, 2000, **kw)
        save_tokenizer(tmp_path/'t.json', tok)
        peer = Theirs.from_file(str(tmp_path/'t.json'))
        assert all(peer.encode(t).ids==tok.encode(t) and peer.decode(peer.encode(t).ids)==t for t in held)
        assert load_tokenizer(tmp_path/'t.json')==tok and peer.get_vocab_size()==2000
    other = theirs(known, 1000)
    other.save(str(tmp_path/'o.json'))
    assert load_tokenizer(tmp_path/'o.json')==train_tokenizer(known, 1000)


def test_foreign_files_are_refused_by_field(tmp_path):
    good,f = json.loads(json_of(train_tokenizer(['the tide, the tide'], 262))),tmp_path/'t.json'
    def broken(*path, value):
        d = json.loads(json.dumps(good))
        at = d
        for k in path[:-1]: at = at[k]
        if value is None: del at[path[-1]]
        else: at[path[-1]] = value
        return d
    some = good['model']['vocab']
    for d,said in ((broken('version', value='2.0'), '`version`: expected "1.0"'), (broken('model','type', value='Unigram'), '`model.type`'), (broken('model', value=None), '`model`'),
                   (broken('normalizer', value=dict(type='NFC')), '`normalizer`'), (broken('added_tokens', value=[dict(id=0)]), '`added_tokens`'),
                   (broken('pre_tokenizer','type', value='Whitespace'), '`pre_tokenizer.type`'), (broken('pre_tokenizer','add_prefix_space', value=True), '`pre_tokenizer.add_prefix_space`'),
                   (broken('model','ignore_merges', value=True), '`model.ignore_merges`'), (broken('decoder', value={}), '`decoder.type`'), (broken('model','vocab', value={'a':0}), 'all 256 bytes'),
                   (broken('model','vocab', value=some|{'b b':262}), 'letters that stand for bytes'), (broken('model','vocab', value=some|{'bb':900}), 'an id for each token'),
                   (broken('model','merges', value=[['a','zz']]), r'`model.merges\[0\]`'), (broken('model','merges', value=[['a','z']]), 'a pair whose bytes are a token'), (broken('model','merges', value=5), '`model.merges`')):
        f.write_text(json.dumps(d))
        with pytest.raises(CheckError, match=said) as e: load_tokenizer(f)
        assert str(e.value).startswith(str(f)) and '\n' not in str(e.value)
    for data in b'',b'[]',b'{"a":1}',b'\xff',json_of(train_tokenizer(['aa'], 257))[:-9]:
        f.write_bytes(data)
        with pytest.raises(CheckError, match='t.json'): load_tokenizer(f)
    assert len(BYTES)==256 and unicodedata.unidata_version>='14'


def test_a_record_holds_what_belongs_together():
    for v,m,said in ((BYTES[1:],(),'all 256 bytes'), ((*BYTES,b'a'),(),'differ'), ((*BYTES,''),(),'bytes'), (BYTES,((0,1),),'a pair whose bytes'), (BYTES,((0,256),),'two ids below 256'), (BYTES,(3,),'two ids')):
        with pytest.raises(CheckError, match=said): Tokenizer(v, m)
    tok = train_tokenizer(['the tide, the tide'], 262)
    for bad in [-1],[262],[[1]],['a'],[.5],None:
        with pytest.raises(CheckError, match='`ids`'): tok.decode(bad)
    for n in range(256, 263): assert tok.part(n)==train_tokenizer(['the tide, the tide'], n)


def test_a_model_learns_on_its_tokens(tmp_path, monkeypatch, capsys):
    "`--lm`: a run that is proved, told in the one object; of a folder, whose tokenizer goes with the run"
    from quarantion.cli import main
    monkeypatch.chdir(tmp_path)
    Path('d').mkdir()
    for i in range(24): Path(f'd/{i}.txt').write_text('\n\n'.join(f'the quick brown fox jumps over {n} lazy dogs' for n in range(i, 240, 24)))
    with pytest.raises(SystemExit) as e: main(['text', '--file', 'd', '--vocab', '300', '--lm', '--json'])
    assert not e.value.code
    m = json.loads(capsys.readouterr().out)['model']
    assert m['places']>0==m['mismatches'] and not m['problems'] and Path(m['run'], 'manifest.json').exists()
    assert Path(m['run'], 'tokens.json').read_bytes()==Path('tokenizer.json').read_bytes()
    assert 'A passage held out' in Path(m['run'], 'report.html').read_text()


def unigram(texts, vocab=300):
    t = Theirs(models.Unigram())
    t.pre_tokenizer,t.decoder = LEVEL,decoders.ByteLevel()
    t.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=vocab, initial_alphabet=LEVEL.alphabet(), show_progress=False))
    return t


@pytest.fixture(scope='module')
def foreign(topics, tmp_path_factory):
    path = tmp_path_factory.mktemp('foreign')/'unigram.json'
    unigram(topics[:40]).save(str(path))
    return any_tokenizer(path)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=40)|st.text(st.characters(exclude_categories=['Cs']), max_size=40).map(str.encode))
def test_foreign_tokens_are_the_text_and_those_of_tokenizers(foreign, data):
    ids = foreign.encode(data)
    assert foreign.decode(ids)==data and sum(len(foreign.vocab[i]) for i in ids)==len(data)
    try: text = data.decode()
    except UnicodeDecodeError: return
    assert ids==foreign.theirs.encode(text).ids==foreign.encode(text)


def test_a_foreign_tokenizer_refuses_what_is_no_text_and_ids_that_are_none(foreign):
    for bad in 5, None, ['a'], '\ud800':
        with pytest.raises(CheckError, match='`text`'): foreign.encode(bad)
    for bad in [-1], [len(foreign)], [.5], None:
        with pytest.raises(CheckError, match='`ids`'): foreign.decode(bad)


def test_a_run_keeps_its_tokenizer_and_sees_that_another_took_its_place(tmp_path, topics):
    "Whoever made it; where the file that was named changes later, the run goes on with its own"
    from quarantion.language.lessons import TextConfig, go_on_learning, learn_text
    from quarantion.train.setup import settings as settings_of
    unigram(topics[:40]).save(str(tmp_path/'u.json'))
    (tmp_path/'text').write_bytes('\n'.join(topics[:8]).encode()[:24_000])
    cfg = TextConfig(data=f'text:{tmp_path}/text', tokens=f'{tmp_path}/u.json', hidden=16, layers=1, heads=2, basin_dim=8, context=32, epochs=1, qat_epochs=1)
    done = learn_text(cfg, tmp_path)
    assert done['mismatches']==0<done['places']
    run = Path(done['run'])
    (tmp_path/'u.json').unlink()
    assert settings_of(run, TextConfig).tokens==str(run/'tokens.json')
    (tmp_path/'u.json').write_bytes(json_of(train_tokenizer(topics[:4], 300)))
    def stop(phase, epoch, *more):
        if phase=='float' and epoch: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): learn_text(TextConfig(**{**vars(cfg), 'epochs':2}), tmp_path/'second', stop)
    run, = [p for p in (tmp_path/'second').iterdir() if p.name!='latest']
    (run/'tokens.json').write_bytes(json_of(train_tokenizer(topics[4:9], 300)))
    with pytest.raises(CheckError, match='those that it began with'): go_on_learning(run)
