"Answers from passages, the rules that they are held to, and records that name what was changed in them"
import json
import os
import random
import re
import stat
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.memory.answer import answer_from, asked_words
from quarantion.memory.parts.sentences import blocks, sentences
from quarantion.memory.rules import RULES, check_answer, question_parts, token_f1
from quarantion.memory.signed import FIELDS, OWN, Key, check_logged, known_signers, log_signed, own_key, sign, signed_bytes, verify_signed

Passage = namedtuple('Passage', 'id title file lines text score share ranks')
Retrieved = namedtuple('Retrieved', 'question passages why digests')
Why = namedtuple('Why', 'left bound')
SAID = dict(lamps='A lamp of the harbour burns for 12.5 hours. It might need about 3 litres of oil.',
            boats='The ferry leaves the harbour at noon. Who rows must carry a lamp.',
            tides='The tide turns twice a day.')


def retrieved(question='When does the ferry leave the harbour?', said=SAID):
    ps = [Passage(f's{i}', k, 'no such file', [1,1], text, 1/i, .25, {'BM25':i}) for i,(k,text) in enumerate(said.items(), 1)]
    return Retrieved(question, ps, Why(1e-4, 1e-3), dict(index='a', query='b', settings='c'))


def rules(text, question='harbour?', **kw): return [f.rule for f in check_answer(text, question, retrieved(question), **kw)]


def wrong(text): return {r for r in rules(text) if r!='covered'}


@pytest.mark.parametrize('text', [ # what ends a sentence, each in |
    '|Lamps burn, e.g. at night.| Boats go.|', '|Use Python 3.11 or 3.12.| Not 2.|', '|See https://a.org/b.c?d=e. It says so.|'.replace('e. I', 'e.| I'),
    '|Call `a. B` then `c! D`.| Next.|', '|Call ``a. `B`` now.| Next.|', '|os.path.join joins.| "It does." [s1]| (So it is.)| End|',
    '|Fig. 3 and Eq. 4 show it.| No. 5 does not.|', '|Is it so?| Yes!|', '|Wait ... what is it?| It is ... Over.|'.replace('... O', '...| O'),
    '|A. Smith et al. say so.| Others etc. do.|', '|Written in C.| It is quick.|', '|One.|\n\n|Two|\n\n|- Three.|'.replace('|- ', '- |'),
    '|好。|是吗？|', '|It costs 1,000.50 in all.| 3 are left.|', '|a [s1]|\n|b [s2]|', '|He left at 5 p.m. by boat.| So did she.|',
    '|Dr. Who et al. sail.|', '|Say it [s1].| Again. [s2] [s3]| Over.|', '|vs. that one, cf. this one, i.e. none.|'])
def test_sentences_end_where_they_end(text):
    plain,parts = text.replace('|', ''),[p.strip() for p in text.split('|') if re.search(r'\w', p)]
    assert [plain[s.start:s.end] for s in sentences(plain)]==parts


def test_code_headings_and_directives_are_no_sentences():
    said = lambda t: [t[s.start:s.end] for s in sentences(t)]
    assert said('```\na = 1. B\n```\nOver.')==['Over.'] and said('~~~\nopen. Never closed')==[]
    assert said('See::\n\n    a = 1. B\n\n    c\n\nOver.')==['See::','Over.']
    assert said('>>> a. B\nc. D\n\nOver.')==['Over.'] and said('Title. It is\n============\n\nOver.')==['Over.']
    assert said('## A. B\nOver.')==['Over.'] and said('.. code-block:: c\n\n   a. B\n\n.. note::\n\n   It is.\n\n.. _x:\n\nOver.')==['It is.','Over.']
    assert said('+---+\n| a. |\n+===+\n| b |\n+---+\n\n| - | - |\n|--|--|\n| c d | e |')==['a.','b |','c d | e |']
    assert blocks('')==[] and said('... --- ...\n\n***')==[]


PAIRS = [ # rule, what keeps it, what breaks it
    ('cited', 'The tide turns twice a day [s3].', 'The tide turns twice a day.'),
    ('cited', 'The ferry leaves at noon. [s2]', 'The ferry leaves at noon. [s9]'),
    ('cited', 'Does the tide turn?', 'The tide turns [web:3].'),
    ('cited', 'The tide turns [s2, s3]. It stays [s1].', 'The tide turns [s2]. It stays.'),
    ('cited', '```\nno claim\n```', 'The letters te are no citation.'),
    ('hedge', 'The almighty tide turns [s3].', 'The tide might turn [s3].'),
    ('hedge', 'The log says that it might turn [s3].', 'The log says that it might turn.'),
    ('hedge', 'According to the log it probably turns [s3].', 'It probably turns [s3].'),
    ('hedge', 'It might need about 3 litres of oil [s1].', 'It might need about 4 litres of oil [s1].'),
    ('hedge', 'Call `maybe()` of might.py at https://a.org/perhaps [s1].', 'Perhaps [s1].'),
    ('hedge', 'A could-be of the seemingly able [s1].', 'I THINK so [s1].'),
    ('number', 'Information about dosing: 12.5 mg [s1].', 'It takes about 12.5 mg [s1].'),
    ('number', 'A book about Python 3 [s1].', 'It has roughly 300 pages [s1].'),
    ('number', 'Pin `numpy~=2.1` and a~3 [s1].', 'It has ~300 or ≈ 4 pages [s1].'),
    ('number', 'The approximate number is 5 [s1].', 'It is approximately 5 [s1].'),
    ('number', 'It was circa in Latin, 3 times [s1].', 'It was built circa 1890 [s1].')]


@pytest.mark.parametrize('rule, right, bad', PAIRS)
def test_a_rule_passes_one_of_a_pair_and_flags_the_other(rule, right, bad):
    assert rule not in wrong(right)
    assert rule in wrong(bad)


def test_parts_of_a_question():
    parts = question_parts('What is a lamp, and how does the ferry leave? Who rows it; and why?')
    assert parts==['What is a lamp','how does the ferry leave','Who rows it'] and question_parts('')==question_parts('Is it so?')==[]
    assert rules('The ferry leaves at noon [s2].', 'When does the ferry leave?')==[]
    flags = check_answer('The ferry leaves at noon [s2].', q := 'When does the ferry leave, and what is oil?', retrieved(q))
    assert [(f.rule,f.said) for f in flags]==[('covered',"an answer to 'what is oil'")]
    assert rules('', 'Why tides?')==['covered'] and rules('Noon [s2].', 'Boats?')==[] # by the title of what it cites


def test_the_same_again_finished_and_signed(tmp_path):
    got = retrieved()
    a,key = answer_from(got),Key(bytes(32))
    assert check_answer(a, got.question, got, again=answer_from(got))==[]
    other = answer_from(got, 1)._replace(text=a.text+' ')
    assert [f.rule for f in check_answer(a, got.question, got, again=other)]==['same']
    assert [f.rule for f in check_answer(a.text, got.question, got, again=other)]==[] # words are the same
    assert token_f1('one two '*49+'a b', 'one two '*50)>=.98 > token_f1('one two '*24+'a b', 'one two '*25)
    assert [f.rule for f in check_answer(a, got.question, got._replace(why=Why(2e-3, 1e-3)))]==['converged']
    assert [f.rule for f in check_answer(a, got.question, got._replace(why=Why(float('nan'), 1e-3)))]==['converged']
    (tmp_path/'signers.json').write_text(json.dumps({key.public: 'Ada'}))
    record = sign(a, key)
    assert check_answer(a, got.question, got, record=record, signers=tmp_path)==[]
    for bad in (dict(record=record|dict(answer='')), dict(record=sign(a, Key(bytes([1]*32)))), dict(record='no such file')):
        assert [f.rule for f in check_answer(a, got.question, got, signers=tmp_path, **bad)]==['signature']
    assert [f.rule for f in check_answer(a.text+' [s1]', got.question, got, record=record, signers=tmp_path)]==['signature']
    assert 'signature' in {f.rule for f in check_answer(a, 'Another question?', got, record=record, signers=tmp_path)}


LETTERS = st.lists(st.sampled_from(list('. !?\n`[]s123,;aAbB"-#=:>~*_\0…。/wh\t|(){}')+['about ','might ','https://','[s1]','```\n','e.g. ','\u2028','é','5']), max_size=200).map(''.join)


@settings(max_examples=100, deadline=None)
@given(LETTERS|st.text(max_size=300), st.text(max_size=60)|LETTERS)
@example("[s1", "x")
def test_any_text_has_flags_that_lie_inside(text, question):
    flags = check_answer(text, question, retrieved(), again=text[::2])
    for f in flags:
        assert f.rule in RULES and 0<=f.start<=f.end<=len(text) and f.found and f.said
        line,column = f.place(text)
        assert text.split('\n')[line-1][column-1:column]==text[f.start:f.start+1].strip('\n')
        if f.rule in ('cited','hedge','number'): assert f.start<f.end
    assert flags==check_answer(text, question, retrieved(), again=text[::2])
    assert all(text[s.start:s.end].strip()==text[s.start:s.end] for s in sentences(text))


@pytest.mark.parametrize('piece', ['.','`','[','[s1','. [s1]','https://','.. ','::\n\n ','a. ','about ','~ ','might ','[s1]\n','\n\na','? ','and what ','I ',
                                   'It might take about 3 steps [s1]. ','x','[s1,','"', '-','> ','\n','\n ', '#', '1. '])
def test_a_hundred_thousand_letters_take_less_than_a_second(piece):
    text = piece*(100_000//len(piece))
    def once():
        t = time.process_time()
        check_answer(text, 'Why harbours, and what is a lamp?', retrieved(), again=text)
        question_parts(text)
        return time.process_time()-t
    assert any(once()<1 for _ in range(3)) # other work slows it down, too


def test_what_is_picked_can_be_opened(tmp_path):
    page = 'Lamps\r\n=====\r\n\r\nA *lamp* of the\r\n   harbour burns ``12`` hours,\r\ne.g. at night. And é: é\\n lasts.\r\n'
    (tmp_path/'a.rst').write_bytes(page.encode())
    text = 'A *lamp* of the\nharbour burns ``12`` hours,\ne.g. at night.'
    p = Passage('s1', 'Lamps', str(tmp_path/'a.rst'), [4,6], text, 1., 1., {})
    claim, = answer_from(Retrieved('How long does a lamp burn?', [p], None, {})).claims
    whole = (tmp_path/'a.rst').read_bytes().decode()
    assert ' '.join(whole[slice(*claim.span)].split())==claim.text and claim.lines==[4,6]
    lost = p._replace(text='A lamp of the harbour shines for hours.')
    claim, = answer_from(Retrieved('lamp', [lost], None, {})).claims
    assert (claim.lines,claim.span)==([4,6],None)
    (tmp_path/'a.rst').write_bytes(b'\xe9\xfeA lamp of the harbour shines for hours.')
    claim, = answer_from(Retrieved('lamp', [lost._replace(lines=[1,1])], None, {})).claims
    assert claim.span==[2,41] # bytes that are no UTF-8 are letters one by one
    for file in str(tmp_path),'/dev/zero','\0': assert answer_from(Retrieved('lamp', [lost._replace(file=file)], None, {})).claims[0].span is None


def test_answers_are_the_same_anywhere_and_speak_of_each_part():
    got = retrieved('When does the ferry leave, and how often does the tide turn?')
    a = answer_from(got, 2)
    assert a.text=='The ferry leaves the harbour at noon. [s2]\nThe tide turns twice a day. [s3]'
    code = ('import sys; sys.path.insert(0, "tests")\nfrom test_memory_answers import *\n'
            'print(answer_from(retrieved("When does the ferry leave, and how often does the tide turn?"), 2).text)')
    for seed in '7',:
        r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=os.environ|dict(PYTHONHASHSEED=seed))
        assert r.stdout.strip()==a.text, r.stderr
    assert asked_words('What is it?')==[] and answer_from(got._replace(passages=[])).text==''
    inject = retrieved(said=dict(a='The ferry leaves as is said [s2] at noon.', b='Is it noon for the ferry? See the ferry in the harbour:'))
    assert answer_from(inject).text=='' # nothing that reads as a citation, no question, nothing that only announces


def field_of(record):
    "For each byte of a file the field that it belongs to"
    sizes = [len(json.dumps({k:record[k]}, sort_keys=True, separators=(',',':')))-1 for k in FIELDS]
    return [k for k,n in zip(FIELDS, sizes) for _ in range(n)]+[FIELDS[-1]]*2


def flip(n, seed, tmp_path):
    "How many of n changed bytes have the right name"
    got = retrieved('Why “é”?', SAID|dict(odd='Say "é" or \\ and 1.50 to the 🚢, "answer": [1, {}].'))
    record = sign(answer_from(got), Key(bytes(32)), dict(k=3, alpha=.5, mix=[1,2.5e-7], none=None, yes=True))
    data,names,rng,hit = signed_bytes(record),field_of(record),random.Random(seed),0
    assert len(names)==len(data)
    file = tmp_path/'record.json'
    for _ in range(n):
        i = rng.randrange(len(data))
        new = data[i]^1<<rng.randrange(8) if rng.random()<.5 else rng.choice([b for b in range(256) if b!=data[i]])
        file.write_bytes(data[:i]+bytes([new])+data[i+1:])
        try: verify_signed(file, tmp_path)
        except CheckError as e:
            near = {names[i]}|({names[i-1]} if data[i:i+1]==b',' else set()) # what stands between two
            assert any(str(e).startswith(f'{file}: `{k}`') for k in near) and '\n' not in str(e), (i, data[max(0, i-20):i+9], bytes([new]), e)
            hit += 1
    file.write_bytes(data)
    assert verify_signed(file, tmp_path).record==record
    return hit


def test_a_flipped_byte_has_a_name(tmp_path): assert flip(2000, 0, tmp_path)==2000


@pytest.mark.soak
def test_many_flipped_bytes_have_names(tmp_path): assert sum(flip(20_000, s, tmp_path) for s in range(1, 6))==100_000


def test_cut_lengthened_and_rewritten_files_are_found(tmp_path):
    record = sign(answer_from(retrieved()), Key(bytes(32)))
    data,file = signed_bytes(record),tmp_path/'record.json'
    for bad in [data[:i] for i in range(0, len(data), 37)]+[data[:-1], data+b' ', b' '+data, data+data, data.replace(b'\n', b'\r\n'),
                json.dumps(record, indent=1).encode(), json.dumps(dict(reversed(record.items()))).encode(), data.replace(b'{"answer":', b'{"answer":"x","answer":', 1),
                b'', b'[]', b'\xff\xfe', b'{'*9999, b'['*10**6, b'{"answer":'+b'['*10**6, b'{"answer":NaN', b'{"answer":1e999', b'{"answer":'+b'9'*5000]:
        file.write_bytes(bad)
        with pytest.raises(CheckError) as e: verify_signed(file, tmp_path)
        assert re.search('`[a-z]+`: expected', str(e.value)) and len(str(e.value))<900
    for k in FIELDS:
        for other in ({f:v for f,v in record.items() if f!=k}, record|{k:None}, record|{k:[record[k]]}):
            if other==record: continue
            with pytest.raises(CheckError, match=f'`{k}`'): verify_signed(other, tmp_path)
    for k in record['hashes']:
        with pytest.raises(CheckError, match='`hashes`'): verify_signed(record|dict(hashes=record['hashes']|{k:7}), tmp_path)
    again = sign(answer_from(retrieved()), Key(bytes([7]*32)))
    for k in 'signature','signer','hashes': # of another record, or signed by somebody else
        with pytest.raises(CheckError, match=f'`({k}|time)`'): verify_signed(record|{k:again[k]}, tmp_path)
    assert verify_signed(again, tmp_path).name=='' and 'unknown signer' in verify_signed(again, tmp_path).said()
    with pytest.raises(CheckError, match='what JSON can hold'): sign(answer_from(retrieved()), Key(bytes(32)), dict(x=float('nan')))
    assert verify_signed(sign(answer_from(retrieved()), Key(bytes(32)), dict(x=np.float32(.5), y=np.arange(2), z=(1,)))).record['parameters']==dict(x=.5, y=[0,1], z=[1])


def test_a_key_is_made_once_by_many_processes(tmp_path):
    folder = tmp_path/'new'/'signing'
    code = f'from quarantion.memory.signed import own_key; print(own_key({str(folder)!r}).public)'
    many = [subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [p.communicate(timeout=60) for p in many]
    assert {out for out,_ in said}=={own_key(folder).public+'\n'}, said
    modes = {p.name:stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()}
    assert modes.keys()=={'key','.lock','signers.json'} and modes['key']==0o600 and stat.S_IMODE(folder.stat().st_mode)==0o700
    assert known_signers(folder)=={own_key(folder).public: OWN}


def test_a_key_that_others_can_read_is_refused(tmp_path):
    folder = tmp_path/'signing'
    public,key = own_key(folder).public,folder/'key'
    secret = key.read_text().strip()
    assert secret not in repr(own_key(folder))
    for mode in 0o644,0o640,0o604,0o660:
        key.chmod(mode)
        with pytest.raises(CheckError, match=f'{key}: mode: expected 600: chmod 600 {key}, found {mode:o}'): own_key(folder)
    key.chmod(0o600)
    folder.chmod(0o750)
    with pytest.raises(CheckError, match=f'chmod 700 {folder}'): own_key(folder)
    folder.chmod(0o700)
    for bad in b'',b'ab',secret.encode(),secret.upper().encode()+b'\n',b'\xff'*65,secret.encode()+b'\n\n':
        key.write_bytes(bad)
        with pytest.raises(CheckError, match='64 hexadecimal digits') as e: own_key(folder)
        assert secret not in str(e.value).lower()
    key.unlink(); key.symlink_to('/dev/zero')
    with pytest.raises(CheckError, match='no link'): own_key(folder)
    key.unlink(); os.mkfifo(key, 0o600)
    with pytest.raises(CheckError, match='expected a file'): own_key(folder)
    key.unlink(); (folder/'.key.aa.tmp').write_text('half') # of a process that was killed
    assert own_key(folder).public!=public and [*known_signers(folder).values()]==[OWN]*2 and not [*folder.glob('.key.*')]
    for bad in '[]','{"a":"b"}',json.dumps({'0'*64: 3}),'{':
        (folder/'signers.json').write_text(bad)
        with pytest.raises(CheckError, match='signers.json'): known_signers(folder)


def test_rows_of_the_log_that_are_changed_lost_or_swapped_are_found(tmp_path):
    folder,a = tmp_path/'signing',answer_from(retrieved())
    key = own_key(folder)
    records = [sign(a, key, dict(k=k)) for k in range(4)]
    for r in records: log_signed(r, folder)
    assert [check_logged(r, folder) for r in records]==[1,2,3,4]
    log = folder/'answers.jsonl'
    whole = log.read_bytes().splitlines(keepends=True)
    assert a.question.encode() not in b''.join(whole)
    for i in range(4):
        for rows in (whole[:i]+whole[i+1:], whole[:i]+[whole[(i+1)%4]]+whole[i+1:], whole[:i]+[whole[i].replace(b'20', b'30', 1)]+whole[i+1:],
                     whole[:i]+whole[i+1:i+2]+whole[i:i+1]+whole[i+2:]):
            if rows==whole: continue
            log.write_bytes(b''.join(rows))
            with pytest.raises(CheckError, match='answers.jsonl'): [check_logged(r, folder) for r in records]
    log.unlink()
    with pytest.raises(CheckError, match='no log'): check_logged(records[0], folder)
    with pytest.raises(CheckError, match='`answer`'): log_signed(records[0]|dict(answer='no'), folder)


def test_a_line_of_the_log_for_each_of_many_processes(tmp_path):
    code = ('import sys; sys.path.insert(0, "tests")\nfrom test_memory_answers import *\n'
            f'f = Path({str(tmp_path/"signing")!r}); k = own_key(f)\nfor i in range(5): log_signed(sign(answer_from(retrieved()), k), f)')
    many = [subprocess.Popen([sys.executable, '-c', code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(p.communicate(timeout=60)[1],p.returncode) for p in many]==[('',0)]*2
    key = own_key(tmp_path/'signing')
    assert check_logged(log_and(key, tmp_path/'signing'), tmp_path/'signing')==11


def log_and(key, folder):
    log_signed(r := sign(answer_from(retrieved()), key, dict(last=1)), folder)
    return r


def test_a_torn_last_line_of_the_log_is_told_and_costs_no_other(tmp_path):
    "As a process that was killed leaves it"
    folder = tmp_path/'signing'
    key = own_key(folder)
    first,second = (sign(answer_from(retrieved()), key, dict(n=n)) for n in range(2))
    log_signed(first, folder)
    with open(folder/'answers.jsonl', 'ab') as f: f.write(b'{"i": 1, "eve')
    with pytest.warns(UserWarning, match='line 2 is torn and left out'): log_signed(second, folder)
    assert [check_logged(r, folder) for r in (first,second)]==[1,2]


def test_trust_in_impossible_counts_is_refused():
    from quarantion.memory.trust import Trust
    for t,name in (Trust(-1,-1),'agreed'), (Trust(0,-2),'failed'):
        with pytest.raises(CheckError, match=f'`{name}`'): t.mean


def test_without_the_library_of_signatures_one_sentence_says_so(monkeypatch, tmp_path):
    for m in 'nacl','nacl.signing','nacl.exceptions': monkeypatch.setitem(sys.modules, m, None)
    for f in (lambda: own_key(tmp_path/'signing'), lambda: Key(bytes(32))):
        with pytest.raises(CheckError, match=r'PyNaCl: expected it installed: pip install "quarantion\[ask\]", found none'): f()
    assert not Path(tmp_path/'signing').exists()
