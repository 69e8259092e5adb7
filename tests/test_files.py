"Files between threads and under hostile names, and what a run directory may hold: each was once a wrong file or no `CheckError`"
import json, os, socket, stat, threading
import numpy as np, pytest
from quarantion.checks import CheckError, check_range, fail
from quarantion.files import MOST_DEEP, Lock, append_jsonl, as_path, audit, check_audit, cut_jsonl, hash_json, is_there
from quarantion.files import load_tensors, parse_json, parse_toml, read_bytes, read_jsonl, read_record, save_tensors, sha256, write_atomic
from quarantion.quant.policy import read_policy
from quarantion.runtime.network import load
from quarantion.train.rundir import Run, check_manifest, is_finished, read_manifest, read_run, read_toml, result_of, unsealed, write_manifest

WHOLE = dict(changed=[], missing=[], extra=[])
DEEP = '['*100_000
NESTED = '['*(MOST_DEEP+1)+']'*(MOST_DEEP+1) # parsed by Python alone, and then too deep for what writes it


@pytest.fixture
def run(tmp_path):
    "A sealed run directory"
    run = tmp_path/'run'
    write_atomic(run/'checkpoints'/'last', b'x'*100)
    for i in range(3): audit(run/'audit.jsonl', 'epoch', n=i)
    write_manifest(run)
    return run


# Writing

def test_threads_that_write_one_file(tmp_path):
    path,bad,done = tmp_path/'f',[],threading.Event()
    wrote = {bytes([65+i])*(1000+i) for i in range(4)}
    write_atomic(path, min(wrote))
    def write(b):
        for _ in range(60):
            try: write_atomic(path, b)
            except Exception as e: bad.append(e)
    def look():
        while not done.is_set():
            if (b:=path.read_bytes()) not in wrote: bad.append(b[:9])
    threads,reader = [threading.Thread(target=write, args=(b,)) for b in wrote],threading.Thread(target=look)
    for t in (reader, *threads): t.start()
    for t in threads: t.join()
    done.set()
    reader.join()
    assert not bad and path.read_bytes() in wrote and os.listdir(tmp_path)==['f']

def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path/'victim'
    victim.write_bytes(b'mine')
    monkeypatch.setattr('quarantion.files.os.urandom', bytes) # guessed: all zeros
    link = tmp_path/f'.f.{"00"*8}.tmp'
    link.symlink_to(victim)
    with pytest.raises(CheckError, match='saving'): write_atomic(tmp_path/'f', b'new')
    assert victim.read_bytes()==b'mine' and link.is_symlink() and not (tmp_path/'f').exists()

@pytest.mark.parametrize('mode', [0o600, 0o640, 0o444, 0o755, 0])
def test_the_mode_is_kept(tmp_path, mode):
    path = tmp_path/'f'
    write_atomic(path, b'1')
    path.chmod(mode)
    write_atomic(path, b'2')
    assert stat.S_IMODE(path.stat().st_mode)==mode

def test_a_new_file_has_the_usual_mode(tmp_path):
    (tmp_path/'usual').write_bytes(b'')
    write_atomic(tmp_path/'f', b'')
    assert (tmp_path/'f').stat().st_mode==(tmp_path/'usual').stat().st_mode

def plant(path, kind, target):
    if kind=='folder': path.mkdir()
    if kind=='fifo': os.mkfifo(path)
    if kind=='link': path.symlink_to(target)
    if kind=='dangling': path.symlink_to(target/'none')
    if kind=='socket':
        os.chdir(path.parent) # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as s: s.bind(path.name)

@pytest.mark.parametrize('kind', ['link','dangling','folder','fifo','socket'])
def test_only_a_plain_file_is_replaced(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'other').write_bytes(b'other\n')
    plant(tmp_path/'f', kind, tmp_path/'other')
    before = os.lstat(tmp_path/'f')
    word = 'link' if kind=='dangling' else kind
    with pytest.raises(CheckError, match=f'f: target: expected a file, or none yet, found a {word}'): write_atomic(tmp_path/'f', b'new')
    with pytest.raises(CheckError, match=f'f: file: expected a file, or none yet, found a {word}'): append_jsonl(tmp_path/'f', dict(a=1))
    os.rename(tmp_path/'f', tmp_path/'.lock')
    with pytest.raises(CheckError, match=f'.lock: file: expected a file, or none yet, found a {word}'): Lock(tmp_path).__enter__()
    assert os.lstat(tmp_path/'.lock').st_ino==before.st_ino and (tmp_path/'other').read_bytes()==b'other\n'
    assert sorted(os.listdir(tmp_path))==['.lock', 'other']

def test_every_folder_that_was_made_is_synced(tmp_path, monkeypatch):
    synced,real = [],os.fsync
    def fsync(fd):
        synced.append(os.readlink(f'/proc/self/fd/{fd}'))
        real(fd)
    monkeypatch.setattr(os, 'fsync', fsync)
    write_atomic(tmp_path/'a'/'b'/'f', b'1')
    assert synced[:2]==[str(tmp_path), str(tmp_path/'a')] and synced[-1]==str(tmp_path/'a'/'b')
    assert '.f.' in synced[2] and len(synced)==4

def test_the_lock_sweeps_files_only(tmp_path):
    (tmp_path/'.a.1.tmp').mkdir()
    (tmp_path/'.b.1.tmp').write_bytes(b'')
    with Lock(tmp_path): assert sorted(os.listdir(tmp_path))==['.a.1.tmp', '.lock']


# Names

@pytest.mark.parametrize('name', ['n'*250, 'ü'*120, '.'*3+'x'*250])
def test_long_names(tmp_path, name):
    write_atomic(tmp_path/name, b'1')
    assert read_bytes(tmp_path/name)==b'1' and os.listdir(tmp_path)==[name]

@pytest.mark.parametrize('name', ['a\0b', '\ud800', 'n'*300, 'd'*300+'/f'])
def test_names_that_no_file_has(tmp_path, name):
    path = f'{tmp_path}/{name}'
    for f in (read_bytes, sha256, read_jsonl, check_audit, is_there, read_record, read_toml, read_run, read_policy, load, read_manifest, check_manifest,
              is_finished, lambda p: write_atomic(p, b''), lambda p: append_jsonl(p, {}), lambda p: cut_jsonl(p, 0), lambda p: audit(p, 'x'),
              lambda p: load_tensors(p, 'x', 1), lambda p: save_tensors(p, {}, dict(format='x', version=1)), lambda p: Lock(p).__enter__(),
              write_manifest, lambda p: result_of(p, ())):
        with pytest.raises(CheckError) as e: f(path)
        assert str(e.value).isprintable() and 'expected' in str(e.value)
    assert not os.listdir(tmp_path)

@pytest.mark.parametrize('args', [['verify'], ['report'], ['run','--resume'], ['run','--config'], ['run','--data','mnist','--data-dir']])
def test_the_command_names_a_path_that_is_too_long(args, capsys):
    from quarantion.cli import main
    with pytest.raises(SystemExit): main([*args, 'n'*300])
    out,err = capsys.readouterr()
    assert err.startswith('quarantion: ') and 'n'*300 in err and 'Traceback' not in err

@pytest.mark.parametrize('path', [None, 3, b'x', ['a']])
def test_what_is_no_name(path):
    with pytest.raises(CheckError, match='path: expected a name that a file can have'): as_path(path)

def test_an_error_is_one_line():
    for found in ('a\nb', 'a\x1b[2Jb', '\u2028', '\ud800'):
        with pytest.raises(CheckError) as e: fail(found, found, found, found)
        assert str(e.value).isprintable() and str(e.value).encode()

@pytest.mark.parametrize('x', ['high', '1', [1,'2'], 10**400, {}])
def test_ranges_are_of_numbers(x):
    with pytest.raises(CheckError, match='`x`: expected numbers'): check_range(x, 0, 1)


# Contents

@pytest.mark.parametrize('text', [DEEP, '{"a":'*100_000, NESTED, '{"a":'*(MOST_DEEP+1)+'1'+'}'*(MOST_DEEP+1), '1e999', '-1e999', '9'*400, '9'*5000, '[NaN]', ''])
def test_json_that_is_not_read(tmp_path, text):
    with pytest.raises(ValueError): parse_json(text)
    run = tmp_path
    write_atomic(run/'config.toml', b'')
    for name in ('a.jsonl','audit.jsonl','metrics.jsonl'): (run/name).write_text(f'{text}\n')
    for name in ('manifest.json','result.json'): (run/name).write_text(text)
    for f,p in ((read_jsonl, run/'a.jsonl'), (check_audit, run/'audit.jsonl'), (read_record, run/'result.json'), (check_manifest, run), (read_run, run),
                (lambda p: audit(p, 'x'), run/'audit.jsonl')):
        with pytest.raises(CheckError, match='JSON'): f(p)
    with pytest.raises(CheckError, match='JSON'): result_of(run, ('bytes',))
    assert all(isinstance(p, str) for p in unsealed(run)) and unsealed(run)

def test_a_hundred_levels_are_read_and_written(tmp_path):
    x = parse_json('['*MOST_DEEP+']'*MOST_DEEP)
    assert len(hash_json(x))==64
    append_jsonl(tmp_path/'a', dict(x=x[0]))
    assert read_jsonl(tmp_path/'a')==[dict(x=x[0])]

@pytest.mark.parametrize('text', ['a = '+DEEP, 'a = '+'{a = '*100_000, f'a = {NESTED}', 'a'+'.a'*(MOST_DEEP+1)+' = 1', 'a = '+'9'*400, 'a = '+'9'*5000, f'a = [{2**63}]'])
def test_toml_that_is_not_read(tmp_path, text):
    with pytest.raises(ValueError): parse_toml(text.encode())
    (tmp_path/'config.toml').write_text(text)
    for f in (read_toml, read_policy):
        with pytest.raises(CheckError, match='config.toml: contents: expected TOML'): f(tmp_path/'config.toml')
    with pytest.raises(CheckError, match='config.toml: contents: expected TOML'): read_run(tmp_path)

def test_what_is_not_written(tmp_path):
    deep = []
    for _ in range(MOST_DEEP+1): deep = [deep]
    very = []
    for _ in range(100_000): very = [very]
    loop = []
    loop.append(loop)
    for x in (deep, very, loop, {1,2}, float('nan'), float('inf'), 10**400):
        with pytest.raises(CheckError, match='what JSON can hold'): append_jsonl(tmp_path/'a', dict(x=x))
        with pytest.raises(CheckError, match='what JSON can hold'): audit(tmp_path/'a', 'x', x=x)
        with pytest.raises(CheckError, match='what JSON can hold'): save_tensors(tmp_path/'t', {}, dict(format='x', version=1, x=x))
    with pytest.raises(CheckError, match='record: expected a dict, found list'): append_jsonl(tmp_path/'a', [1])
    assert not os.listdir(tmp_path)

@pytest.mark.parametrize('said', [DEEP, NESTED, '[["format","test"]]', '3', ''])
def test_headers_of_nobody(tmp_path, said):
    from safetensors.numpy import save_file
    save_file({'x': np.zeros(3)}, tmp_path/'t', {'quarantion': said})
    with pytest.raises(CheckError, match='header: expected one that quarantion wrote'): load_tensors(tmp_path/'t', 'test', 1)
    with pytest.raises(CheckError, match='header: expected one that quarantion wrote'): load(tmp_path/'t')

@pytest.mark.parametrize('line', ['[1]', '1', 'null', '"x"'])
def test_lines_are_records(tmp_path, line):
    (tmp_path/'a').write_text(f'{{}}\n{line}\n')
    with pytest.raises(CheckError, match='a, line 2: record: expected an object'): read_jsonl(tmp_path/'a')

@pytest.mark.parametrize('last', ['{}', '{"i":"0","hash":"x"}', '{"i":0,"hash":[]}', '{"i":true,"hash":"x"}'])
def test_an_audit_goes_on_after_an_audit(tmp_path, last):
    (tmp_path/'a').write_text(f'{last}\n')
    with pytest.raises(CheckError, match='last line: expected a line of an audit'): audit(tmp_path/'a', 'x')


# What a run directory may hold

def odd(run, kind):
    "Put it there; what it is called, and what is said of it"
    out = run.parent/'outside'
    out.mkdir(exist_ok=True)
    (out/'f').write_bytes(b'not of this run')
    if kind=='link to a file': (run/'odd').symlink_to(out/'f')
    if kind=='link to a folder': (run/'odd').symlink_to(out)
    if kind=='link inside': (run/'odd').symlink_to('audit.jsonl')
    if kind=='dangling link': (run/'odd').symlink_to('nowhere')
    if kind=='fifo': os.mkfifo(run/'odd')
    if kind=='empty folder': (run/'odd').mkdir()
    return 'odd',dict(fifo='a fifo').get(kind, 'a link to' if 'link' in kind else 'an empty folder')

ODD = ['link to a file','link to a folder','link inside','dangling link','fifo','empty folder']

@pytest.mark.parametrize('kind', ODD)
def test_what_is_no_file_is_reported_and_not_sealed(run, kind):
    name,words = odd(run, kind)
    assert check_manifest(run)==WHOLE|dict(extra=[name])
    assert len(unsealed(run))==1 and unsealed(run)[0].startswith(f'extra: {name} ({words}')
    before = (run/'manifest.json').read_bytes()
    with pytest.raises(CheckError, match=rf'run: contents: expected plain files, in folders, found {name} \({words}'): write_manifest(run)
    assert (run/'manifest.json').read_bytes()==before

@pytest.mark.parametrize('kind', ODD)
def test_further_down(run, kind):
    (run/'odd').unlink(missing_ok=True)
    odd(run, kind)
    (run/'odd').rename(run/'checkpoints'/'odd')
    assert check_manifest(run)==WHOLE|dict(extra=['checkpoints/odd'])

def test_a_file_that_became_a_link(run):
    (run/'checkpoints'/'last').rename(run.parent/'same')
    (run/'checkpoints'/'last').symlink_to(run.parent/'same') # of equal bytes
    assert check_manifest(run)==WHOLE|dict(changed=['checkpoints/last'])
    assert unsealed(run)==[f'changed: checkpoints/last (a link to {run.parent/"same"})']

def test_a_folder_that_was_emptied(run):
    (run/'checkpoints'/'last').unlink()
    assert check_manifest(run)==WHOLE|dict(missing=['checkpoints/last'])

def test_a_folder_that_became_a_link(run):
    (run/'checkpoints').rename(run.parent/'same')
    (run/'checkpoints').symlink_to(run.parent/'same')
    assert check_manifest(run)==WHOLE|dict(missing=['checkpoints/last'], extra=['checkpoints'])

@pytest.mark.parametrize('name', ['.lock','manifest.json'])
def test_lock_and_manifest_are_files_too(run, name):
    (run/name).unlink(missing_ok=True)
    (run/name).symlink_to(run/'audit.jsonl')
    assert any('link' in p for p in unsealed(run))
    with pytest.raises(CheckError, match=name): write_manifest(run)

def test_a_temporary_file_that_was_left_is_extra(run):
    (run/'.result.json.0123456789abcdef.tmp').write_bytes(b'half')
    assert check_manifest(run)==WHOLE|dict(extra=['.result.json.0123456789abcdef.tmp'])
    with Lock(run): pass
    assert check_manifest(run)==WHOLE

def test_folders_in_folders(run):
    here = run
    for _ in range(400): here = here/'d'
    write_atomic(here/'f', b'')
    assert check_manifest(run)['extra']==['d/'*400+'f']

@pytest.mark.parametrize('change,word', [
    (dict(files=None), 'files: expected an object, found NoneType'), (dict(files=[]), 'files: expected an object, found list'),
    (dict(files={'a':3}), 'file a: expected its size and SHA-256, found 3'), (dict(files={'a':dict(size='1', sha256='0'*64)}), 'file a'),
    (dict(files={'a':dict(size=1, sha256='0')}), 'file a'), (dict(files={'a':dict(size=1)}), 'file a'), (dict(files={'a':dict(size=True, sha256='0'*64)}), 'file a'),
    (dict(audit=None), 'audit: expected a SHA-256'), (dict(audit=[1]), 'audit'), (dict(version=True), 'version: expected 1, found True'),
    (dict(version=1.), 'version'), (dict(format=['x']), 'format')])
@pytest.mark.parametrize('gone', [False, True])
def test_a_manifest_with_a_right_digest(run, change, word, gone):
    d = json.loads((run/'manifest.json').read_text())|change
    d = {k:v for k,v in d.items() if k!='digest' and not (gone and change.get(k, 0) is None)}
    (run/'manifest.json').write_text(json.dumps(d|dict(digest=hash_json(d))))
    with pytest.raises(CheckError) as e: check_manifest(run)
    assert f'manifest.json: {word}' in str(e.value), str(e.value)
    assert any(word in p for p in unsealed(run))


# The record of a run

GOOD = dict(test_accuracy=.9, samples=360, spikes=None, mismatches=0, bytes=10, float_bytes=80, seconds=1)

@pytest.mark.parametrize('key', ['float_accuracy','test_accuracy','samples','spikes','mismatches','spike_rate','bytes','float_bytes','seconds'])
@pytest.mark.parametrize('bad', ['many', '9', [1], {}, True])
def test_numbers_of_a_result(tmp_path, key, bad):
    write_atomic(tmp_path/'config.toml', b'')
    write_atomic(tmp_path/'result.json', json.dumps(GOOD|{key:bad}).encode())
    for f in (read_run, lambda p: result_of(p, ()), lambda p: Run(p, {}, [], GOOD|{key:bad})):
        with pytest.raises(CheckError) as e: f(tmp_path)
        assert f'result.json: `{key}`: expected a number, found' in str(e.value)

def test_numbers_of_layers_and_epochs(tmp_path):
    for result,metrics,word in ((dict(layers=[dict(rate='x')]), [], r'result.json, layers\[0\]: `rate`'), (dict(layers=[{},3]), [], '`layers`: expected a list of objects'),
            (dict(layers=None), [], '`layers`'), ({}, [dict(loss='low')], 'metrics.jsonl, line 1: `loss`: expected a number'), ({}, [{},[]], 'line 2: record')):
        with pytest.raises(CheckError, match=word): Run(tmp_path, {}, metrics, result)

def test_a_run_is_shown_whatever_its_numbers(tmp_path):
    big = int(1e308)
    for r in (GOOD, {}, dict(bytes=None), {k:big for k in GOOD}, {k:0 for k in GOOD}, dict(bytes=5e-324, float_bytes=big), dict(layers=[dict(rate=None, levels=9), dict(name=[1])])):
        run = Run(tmp_path, dict(epochs='many', policy=None, data=[]), [dict(loss=None), dict(loss=big, phase=3)], r)
        assert run.name in repr(run) and run.name in run._repr_html_()
