"A run on texts is a run: gone on with, verified, reported, listed, compared and shared, by the same commands"
import json, os, re, shutil, signal, subprocess, sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quarantion.checks import CheckError
from quarantion.cli import main
from quarantion.files import load_tensors
from quarantion.inspect.report import write_report
from quarantion.language.lessons import PASSAGE, TextConfig, learn_text
from quarantion.language.merge import train_tokenizer
from quarantion.language.program import lm_sizes
from quarantion.language.tokenizer import save_tokenizer
from quarantion.train.reproduce import promote, reproduced
from quarantion.train.rundir import check_manifest, read_run, result_of
from quarantion.train.runs import difference
from quarantion.train.setup import start

WORDS = b'\n'.join(b'the quick brown fox jumps over %d lazy dogs' % i for i in range(500))
MANY = '''
import sys
from quarantion.train.ranks import world
from quarantion.language.lessons import TextConfig, learn_text
with world() as me:
    r = learn_text(TextConfig(**eval(sys.argv[1])), sys.argv[2])
    print(me.rank, r['places'], r['mismatches'], flush=True)
'''


def settings(folder): return dict(data=f'text:{folder}/text', hidden=16, layers=1, heads=2, basin_dim=8, context=32, epochs=2, qat_epochs=1, batch=16, lr=.01)


def said(capsys, *words):
    "Exit code, stdout, stderr"
    capsys.readouterr()
    with pytest.raises(SystemExit) as e: main([*map(str, words)])
    return (e.value.code, *capsys.readouterr())


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    d = tmp_path_factory.mktemp('texts')
    (d/'text').write_bytes(WORDS)
    save_tokenizer(d/'t.json', train_tokenizer([WORDS], 280))
    return d


@pytest.fixture(scope='module')
def done(folder): return Path(learn_text(TextConfig(**settings(folder), tokens=str(folder/'t.json')), folder/'runs')['run'])


@pytest.fixture
def mine(done, tmp_path): return Path(shutil.copytree(done, tmp_path/done.name))


def test_verify_proves_again_and_sees_a_changed_byte(mine, folder, capsys):
    code,out,_ = said(capsys, 'verify', mine)
    assert code==0 and 'next tokens compared, and their logits bit by bit: 0 mismatches' in out
    code,out,_ = said(capsys, 'verify', mine, '--json')
    d = json.loads(out)
    assert code==0 and d['places']>0==d['mismatches']==d['unequal'] and not d['problems']
    program = mine/'integer.safetensors'
    whole = program.read_bytes()
    bad = bytearray(whole); bad[-3] ^= 1
    program.write_bytes(bad)
    code,out,_ = said(capsys, 'verify', mine)
    assert code==1 and 'changed: integer.safetensors' in out and 'digest' in out
    program.write_bytes(whole)
    text = (folder/'text').read_bytes()
    try:
        (folder/'text').write_bytes(text.replace(b'dogs', b'cats'))
        code,out,_ = said(capsys, 'verify', mine)
        assert code==1 and 'those that it began with' in out
    finally: (folder/'text').write_bytes(text)


def test_another_program_is_found(mine, folder, capsys):
    "One code of one layer, in a file whose digest is right: only the proof can see it"
    from quarantion.language.program import load_lm, save_lm
    lm = load_lm(mine/'integer.safetensors')
    head = lm.layers['head']
    w = head.weight.copy()
    w[ord('o'),0] += 1 if w[ord('o'),0]<head.quant_max else -1
    save_lm(lm._replace(layers=lm.layers|dict(head=head._replace(weight=w))), mine/'integer.safetensors')
    code,out,_ = said(capsys, 'verify', mine)
    assert code==1 and 'PROBLEM: logits differ in' in out


def test_the_same_settings_leave_the_same_bytes(mine, capsys):
    "Its tokenizer goes with the run, and no file says where the run was"
    assert reproduced(mine, kind=TextConfig).how=='hashes' and not reproduced(mine, kind=TextConfig).problems
    assert str(mine.parent).encode() not in (mine/'model.safetensors').read_bytes()
    line = promote(mine, kind=TextConfig)
    assert line.run==mine.name and 'canon' in said(capsys, 'runs', mine.parent)[1]


def test_a_killed_run_is_gone_on_with_by_the_command(done, folder, tmp_path, capsys):
    run = start(TextConfig(**settings(folder), tokens=str(folder/'t.json')), tmp_path)
    code = "import quarantion.train.job as j, os, signal\nw = j._write\ndef f(*a):\n    w(*a); os.kill(os.getpid(), signal.SIGKILL)\nj._write = f\nfrom quarantion.cli import main; main(['run','--resume',%r])"
    p = subprocess.run([sys.executable, '-c', code % str(run)], capture_output=True, env=os.environ|dict(OMP_NUM_THREADS='1'))
    assert p.returncode==-signal.SIGKILL and len(read_run(run).metrics)==1
    code,out,err = said(capsys, 'report', run)
    assert code==2 and 'go on with: quarantion run --resume' in err
    assert 'is not finished (float 1 of 2, qat 0 of 1)' in said(capsys, 'runs', tmp_path)[2]
    code,out,err = said(capsys, 'run', '--resume', run)
    assert code==0 and 'next tokens compared' in out and not any(check_manifest(run).values())
    for f in 'model.safetensors','integer.safetensors','sample.safetensors': assert (run/f).read_bytes()==(done/f).read_bytes()
    assert 'nothing to do' in said(capsys, 'run', '--resume', run)[2]


def test_report_tells_what_a_language_model_is_asked(mine, tmp_path, capsys):
    page = re.sub('base64,[^"]*', '', write_report(mine, tmp_path/'page.html').read_text())
    r = result_of(mine, ())
    for w in ('next tokens differ', f'{r["bits_per_byte"]:.4f}', 'A passage held out', 'bits a parameter', 'Settings'): assert w in page
    assert not re.search('spike|\\bnan\\b', page.lower())
    code,out,_ = said(capsys, 'report', mine, '--show', 'size', '--json')
    rows = json.loads(out)['size']
    assert code==0 and sum(x['coded'] for x in rows)==(mine/'integer.safetensors').stat().st_size==sum(s.coded for s in lm_sizes(mine/'integer.safetensors'))
    for name in 'cost','card','targets','sensitivity':
        code,_,err = said(capsys, 'report', mine, '--show', name)
        assert code==2 and f'expected size or health, of a run of a language model, found {name}' in err
    assert said(capsys, 'report', mine, '--show', 'health')[0]==0
    (mine/'result.json').write_text((mine/'result.json').read_text().replace('"places"', '"p"'))
    with pytest.raises(CheckError, match='`places`: expected a number'): write_report(mine, tmp_path/'page.html')


def test_a_passage_that_is_none_is_refused(mine, tmp_path):
    from quarantion.files import save_tensors
    t,head = load_tensors(mine/'sample.safetensors', PASSAGE, 1)
    for k,v,what in (('ids',t['ids']+10**6,'ids'), ('float.bits',-t['float.bits'],'float.bits'), ('next',t['next'][:3],'next'), ('other',t['next'],'tensors')):
        save_tensors(mine/'sample.safetensors', t|{k:v}, head)
        with pytest.raises(CheckError, match=what): write_report(mine, tmp_path/'page.html')


@pytest.mark.parametrize('words', [('infer', '--input', 'x.npy'), ('export', '--to', 'c')])
def test_what_is_for_spiking_networks_says_so(done, words, capsys):
    np.save('x.npy', np.zeros((1, 4))) if words[0]=='infer' else None
    code,_,err = said(capsys, words[0], done, *words[1:])
    Path('x.npy').unlink(missing_ok=True)
    assert code==2 and 'expected a run of a spiking network; `language.load_lm` reads the program of the other' in err and err.count('\n')==1


def test_runs_lists_and_compares(done, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    other = learn_text(replace(TextConfig(**settings(folder)), policy='float'), folder/'runs')
    code,out,_ = said(capsys, 'runs', folder/'runs')
    assert code==0 and 'bits a byte' in out and f'{other["bits_per_byte"]:.3f}' in out
    d = difference(done, other['run'])
    assert d.metrics['bits_per_byte'][1]==other['bits_per_byte'] and d.sizes and not d.same_network()
    code,out,_ = said(capsys, 'runs', folder/'runs', '--where', 'bits_per_byte<100,policy=nonary', '--json')
    found = json.loads(out)['runs']
    assert [r['run'] for r in found]==[str(done)] and found[0]['spike_rate'] is None and 'NaN' not in out
    assert said(capsys, 'runs', folder/'runs', '--figure', tmp_path/'two.png')[0]==0
    assert said(capsys, 'verify', other['run'])[1].startswith('no proof: policy float')
    assert 'there are no codes' in write_report(other['run'], tmp_path/'p.html').read_text()


def test_two_processes_share_its_batches(folder, tmp_path, capsys):
    "The same numbers but for the order of sums; proved, one directory, all told the same"
    (tmp_path/'many.py').write_text(MANY)
    how = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', tmp_path/'many.py', repr(settings(folder)), tmp_path/'two']
    p = subprocess.run(how, capture_output=True, text=True, timeout=120, env=os.environ|dict(OMP_NUM_THREADS='1'))
    assert p.returncode==0, p.stderr[-2000:]
    a,b = sorted(l.split() for l in p.stdout.splitlines() if l[:1] in '01')
    assert a[1:]==b[1:] and a[2]=='0' and int(a[1])>0
    run, = [r for r in (tmp_path/'two').iterdir() if r.name[0]!='.']
    assert said(capsys, 'verify', run)[0]==0
    alone = learn_text(TextConfig(**settings(folder)), tmp_path/'one')
    assert abs(alone['float_bits_per_byte']-result_of(run, ())['float_bits_per_byte'])<.01


def test_a_model_that_says_nothing_any_more_is_eased(folder, tmp_path, capsys):
    "At a rate far too large; and its health can be told"
    r = learn_text(replace(TextConfig(**settings(folder)), lr=1e5, epochs=5, qat_epochs=0, policy='float', clip=0., health='act'), tmp_path)
    code,out,_ = said(capsys, 'report', r['run'], '--show', 'health')
    assert code==0 and 'lower_rate' in out
