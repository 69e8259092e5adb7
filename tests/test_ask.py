"`quarantion ask`: answers, reasons, checks and records; what is refused, and what has an empty answer"
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from commands import refused

TEXTS = dict(lamps='# About lamps\n\nA lamp of the harbour burns for 12 hours, as `lamps.oil` says.\n\n## Oil\n\nThe oil of a lamp is kept in a can.\n',
             boats='# About boats\n\nThe ferry leaves the harbour at noon. Who rows must carry a lamp.\n',
             tides='# About tides\n\nThe tide turns twice a day.\n')


@pytest.fixture
def ask(tmp_path, here, monkeypatch):
    "Ask some notes; the key is that of a folder of its own"
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path/'config'))
    monkeypatch.chdir(tmp_path)
    (tmp_path/'notes').mkdir()
    for n,t in TEXTS.items(): (tmp_path/f'notes/{n}.md').write_text(t)
    return lambda *args: here('ask', *args, *([] if '--corpus' in args else ['--corpus','notes','--index','kept']))


def test_an_answer_its_passages_and_why(ask):
    code,out,err = ask('When does the ferry leave the harbour?', '--k', '3', '--why')
    assert code==0 and out.startswith('The ferry leaves the harbour at noon. [s1]\n') and '4 texts from 3 files' in err
    assert re.search(r's1 +│ .*boats.* │ +\d+\.\d% │ notes/boats.md:3 ', out) and re.search('seed +│ e:', out) and re.search('entity +│ v:', out)
    assert 'rounds, until' in out and ask('When does the ferry leave the harbour?', '--k', '3', '--why')==(0,out,'')
    assert 'rounds' not in ask('ferry')[1] and ask('ferry', '--mix', '0', '--why')[0]==0
    other = ask('ferry', '--alpha', '.2', '--why')
    assert other[0]==0 and other!=ask('ferry', '--alpha', '.8', '--why')


def test_full_prints_passages_and_paths(ask, tmp_path):
    short,(code,out,_) = ask('When does the ferry leave?', '--k', '2')[1],ask('When does the ferry leave?', '--k', '2', '--full')
    assert code==0 and out.startswith(short) and f'\n[s1] About boats\n{tmp_path.resolve()}/notes/boats.md:3\n\n' in out
    assert 'Who rows must carry a lamp.' in out and 'Who rows' not in short
    (tmp_path/'notes/tides.md').write_text('# Tides\n\nThe tide \x1b[2J turns.\n')
    assert '\x1b' not in ask('Does the tide turn?', '--full')[1]


def test_no_known_word_is_an_answer_that_says_so(ask):
    for how in (),('--why',): assert ask('qqqzzz', *how)[:2]==(0,'no passage was found: no text has a word of the question\n')
    code,out,_ = ask('qqqzzz', '--json')
    d = json.loads(out)
    assert code==0 and d['answer']=='' and d['passages']==d['claims']==[]


def test_a_record_is_written_once_and_verified(ask, tmp_path, here):
    q = 'When does the ferry leave the harbour?'
    code,out,err = ask(q, '--json', '--out', 'a.json', '--k', '2')
    assert code==0 and out.encode()==Path('a.json').read_bytes() and re.search('a.json: signed, by [0-9a-f]{16}…', err)
    d = json.loads(out)
    assert d['question']==q and d['answer'].startswith('The ferry') and d['parameters']['k']==2 and len(d['passages'])==2
    claim = d['claims'][0]
    assert Path(claim['file']).read_text()[slice(*claim['span'])]==claim['text'] and claim['lines']==[3,3]
    assert {'answer','parameters','passages','question','digests'}<d['hashes'].keys() and {'index','query','settings'}<=d['digests'].keys()
    again = json.loads(ask(q, '--json', '--k', '2')[1])
    assert {k for k in d if d[k]!=again[k]}<={'time','signature','hashes'}
    code,out,err = here('ask', '--verify', 'a.json')
    assert (code,err)==(0,'') and re.fullmatch(r'whole, signed by own key; it says 20.*Z, line 1 of the log\n', out)
    assert json.loads(here('ask', '--verify', 'a.json', '--json')[1])['ok'] is True
    log = tmp_path/'config/quarantion/signing/answers.jsonl'
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(lines[1])
    assert here('ask', '--verify', 'a.json')[0]==1 and 'answers.jsonl' in here('ask', '--verify', 'a.json')[1]
    log.write_text(''.join(lines))
    (tmp_path/'config/quarantion/signing/signers.json').unlink()
    code,out,_ = here('ask', '--verify', 'a.json')
    assert code==1 and out.startswith(f'whole, by an unknown signer, {d["signer"]}; ')
    data = Path('a.json').read_bytes()
    Path('a.json').write_bytes(data.replace(b'noon', b'nine', 1))
    code,out,err = here('ask', '--verify', 'a.json')
    assert (code,err)==(1,'') and out.startswith('a.json: `answer`: expected what was signed')
    assert json.loads(here('ask', '--verify', 'a.json', '--json')[1])|dict(said='')==dict(file='a.json', whole=False, signer=None, ok=False, said='')


def test_a_text_is_checked_by_line_and_column(ask):
    q,text = 'When does the ferry leave the harbour?',Path('draft.md')
    text.write_text('The ferry leaves at noon [s1].\n\nIt might leave the harbour.\n')
    code,out,err = ask(q, '--check', text)
    assert code==1 and out.splitlines()==['draft.md:3:1: cited: expected [id], one of s1, s2, s3, s4, found no citation',
                                          'draft.md:3:4: hedge: expected what is the case, or who says so, found might']
    assert err.endswith('2 places, 2 of 7 rules\n')
    code,out,_ = ask(q, '--check', text, '--json')
    assert code==1 and [(f['rule'],f['line'],f['column']) for f in json.loads(out)['flags']]==[('cited',3,1),('hedge',3,4)]
    text.write_text('The ferry leaves at noon.')
    assert ask(q, '--check', text)[2].endswith('1 place, 1 of 7 rules\n')
    text.write_text('The ferry leaves the harbour at noon [s1].')
    code,out,err = ask(q, '--check', text)
    assert (code,out,err)==(0,'','no rule is broken\n') and json.loads(ask(q, '--check', text, '--json')[1])['flags']==[]
    Path('other.md').write_text('The tide turns twice [s2].')
    assert ': same: expected at least 0.98, found token F1' in ask(q, '--check', text, '--check', 'other.md')[1]
    ask(q, '--out', 'a.json')
    assert ': signature: ' in ask(q, '--check', text, '--verify', 'a.json')[1]
    text.write_text(json.loads(Path('a.json').read_text())['answer']+'\n')
    assert ask(q, '--check', text, '--check', text, '--verify', 'a.json')[:2]==(0,'')


def test_what_cannot_be_asked_is_refused_in_one_line(ask, here, tmp_path):
    refused(here('ask'), '`question`', 'words, or --verify with a file')
    for q in '',' ': refused(ask(q), 'ask: `question`', 'words')
    refused(here('ask', 'When', 'does', 'it', 'leave?'), 'does it leave?', 'stands in quotes')
    ask('ferry') # builds, and says so
    refused(ask('ferry', '--k', '5'), '`k`', '1 to 4', 'found 5'); refused(ask('ferry', '--k', '0'), '`k`', '>= 1')
    for how in ('--alpha','1'),('--alpha','-1'),('--alpha','nan'),('--mix','2'): refused(ask('ferry', *how), f'`{how[0][2:]}`')
    refused(ask('ferry', '--alpha', 'x'), 'a number'); refused(ask('ferry', '--embed', 'none'), '`embed`')
    refused(here('ask', 'ferry', '--check', 'no such file'), 'no such file', 'a file that can be read')
    refused(here('ask', 'ferry', *['--check','draft.md']*3), '`check`', 'found 3')
    for path,found in ('no such file','nothing there'),('notes','no file'): refused(here('ask', '--verify', path), path, found)
    for n,data in (('bad',b'a\xffb'), ('binary',b'\x89PNG\r\n\x1a\n\0')):
        Path(n).write_bytes(data)
        refused(ask('ferry', '--check', n), n, 'UTF-8', 'byte 0x')
    with open('large', 'wb') as f: f.truncate(2**30)
    refused(ask('ferry', '--check', 'large'), 'large', 'at most 8 MiB'); refused(ask('--verify', 'large'), 'at most 64 MiB')
    refused(ask('ferry', '--out', 'notes'), 'notes'); refused(ask('ferry', '--out', 'large/a'), 'large')
    key = tmp_path/'config/quarantion/signing/key'
    key.chmod(0o644)
    refused(ask('ferry', '--json'), f'chmod 600 {key}', 'found 644')
    assert ask('ferry')[0]==0 # which signs nothing


def test_folders_of_anything(ask, tmp_path):
    def of(name, **files):
        (tmp_path/name).mkdir()
        for n,data in files.items(): (tmp_path/name/n).write_bytes(data)
        return ask('Where is the harbour?', '--corpus', name, '--index', f'kept {name}')
    refused(of('empty'), 'corpus', 'at least one text', 'none in 0 files')
    refused(of('binaries', a=b'\x89PNG\0', b=b'\0'*99), 'at least one text', 'is not text')
    refused(ask('x', '--corpus', 'no such folder'), 'no such folder', 'nothing there')
    refused(of('few', a=b'A harbour.'), 'tfidf for fewer than 3 texts')
    (tmp_path/'large').mkdir()
    with open(tmp_path/'large/a', 'wb') as f: f.truncate(2**30)
    refused(ask('x', '--corpus', 'large', '--index', 'kept large'), 'is larger than')
    code,out,err = of('mixed', **{'a.md':b'# Port\n\nThe harbour is in the caf\xe9 of the town.', 'b.png':b'\x89PNG\0', 'c.txt':b'The harbour of boats is here, by the town.',
                                  'd.rst':b'Port\n====\n\nHarbours are *ports* of a town.\n', 'e.txt':b'', 'f.txt':b'\xff\xfe', 'g.ipynb':b'{'})
    assert code==0 and '[s1]' in out and 'left out, such as' in err


def test_kept_files_that_are_cut_changed_or_of_another_version_are_refused(ask, tmp_path):
    want = ask('ferry')
    kept = tmp_path/'kept'
    for f in sorted(p for p in kept.iterdir() if p.suffix in ('.safetensors','.json')):
        data = f.read_bytes()
        for bad in data[:len(data)//2],data[:-1],b'',re.sub(rb'"version": ?(\d+)', rb'"version": 99', data, 1) if f.suffix=='.json' else data+b'\0':
            f.write_bytes(bad)
            code,out,err = answer = ask('ferry')
            if code: refused(answer, 'expected')
            else: assert out==want[1] # made anew
        f.write_bytes(data)
    assert ask('ferry')[:2]==want[:2]
    (tmp_path/'notes/boats.md').write_text('# About boats\n\nThe ferry sleeps.\n')
    assert ask('ferry')[1].startswith('The ferry sleeps. [s1]') # texts that changed are read again


def test_asking_again_loads_neither_torch_nor_scipy_nor_what_builds(ask, tmp_path):
    ask('ferry')
    code = ('import sys\nfrom quarantion.cli import main\ntry: main(["ask","ferry","--corpus","notes","--index","kept"])\nexcept SystemExit as e: assert not e.code\n'
            'print(*[m for m in ("torch","scipy","sklearn","bm25s","networkx","nacl","matplotlib") if m in sys.modules], file=sys.stderr)')
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=os.environ)
    assert (r.returncode,r.stderr.strip())==(0,''), r.stderr
