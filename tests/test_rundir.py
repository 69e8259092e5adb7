"The run directory: full disks, killed processes, two at once, and tampering"
import json, os, signal, subprocess, sys, time
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors, write_atomic
from quarantion.files import Lock, append_jsonl, audit, check_audit, cut_jsonl, read_jsonl, sha256
from quarantion.train.rundir import check_manifest, dump_toml, read_toml, write_manifest

HEAD = dict(format='test', version=1)


def python(code, *args, **kw): # Run code in another process
    return subprocess.run([sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, **kw)

def start(code, *args): return subprocess.Popen([sys.executable, '-c', code, *map(str, args)], stdout=subprocess.PIPE, text=True)

@pytest.fixture
def run(tmp_path):
    "A sealed run directory"
    run = tmp_path/'run'
    save_tensors(run/'model.safetensors', {'w': np.arange(6.).reshape(2,3)}, HEAD)
    write_atomic(run/'checkpoints'/'last.safetensors', b'x'*100)
    for i in range(3): append_jsonl(run/'metrics.jsonl', dict(epoch=i, loss=1/(i+1)))
    for i in range(4): audit(run/'audit.jsonl', 'epoch', n=i, accuracy=.9+i/100)
    write_manifest(run)
    return run


# Full disk: RLIMIT_FSIZE stands for it

def limited(code): return f'''
import resource, sys, numpy as np
from quarantion.files import *
from quarantion.train.rundir import *
path,limit = sys.argv[1],int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try: {code}
except ValueError as e: print(type(e).__name__, e)
else: print('no error')
'''

def test_full_disk_keeps_the_checkpoint(tmp_path):
    path = tmp_path/'c.safetensors'
    save_tensors(path, {'w': np.ones(10)}, HEAD)
    before = path.read_bytes()
    out = python(limited("save_tensors(path, {'w': np.zeros(10_000)}, dict(format='test', version=1))"), path, 2000)
    assert 'CheckError' in out.stdout and str(path) in out.stdout and 'File too large' in out.stdout, out
    assert path.read_bytes()==before and os.listdir(tmp_path)==[path.name]
    assert (load_tensors(path, 'test', 1)[0]['w']==1).all()

@pytest.mark.parametrize('limit', [100, 105, 119]) # at once, or in the middle of the line
def test_full_disk_keeps_the_lines(tmp_path, limit):
    path = tmp_path/'m.jsonl'
    for i in range(10): append_jsonl(path, dict(n=100+i)) # 10 bytes each
    out = python(limited("append_jsonl(path, dict(text='x'*50))"), path, limit)
    assert 'CheckError' in out.stdout and str(path) in out.stdout, out
    assert [r['n'] for r in read_jsonl(path)]==list(range(100, 110)) and path.stat().st_size==100

def test_full_disk_keeps_the_manifest(run):
    before = (run/'manifest.json').read_bytes()
    out = python(limited('write_manifest(path)'), run, 50)
    assert 'CheckError' in out.stdout and 'manifest.json' in out.stdout, out
    assert (run/'manifest.json').read_bytes()==before

def test_folder_that_cannot_be_made(tmp_path):
    write_atomic(tmp_path/'file', b'')
    with pytest.raises(CheckError, match='saving'): write_atomic(tmp_path/'file'/'x', b'1')
    with pytest.raises(CheckError, match='lock'): Lock(tmp_path/'file').__enter__()


# Killed while saving

def test_kill_while_saving(tmp_path):
    code = '''
import sys, numpy as np
from quarantion.files import save_tensors
print('go', flush=True)
i = 0
while True:
    i += 1
    save_tensors(sys.argv[1], {'w': np.full(300_000, float(i))}, dict(format='test', version=1, i=i))
'''
    path = tmp_path/'c.safetensors'
    for pause in (.01, .05, .1, .15):
        p = start(code, path)
        p.stdout.readline()
        while not path.exists(): time.sleep(.005)
        time.sleep(pause)
        p.kill()
        p.wait()
        p.stdout.close()
        w,head = load_tensors(path, 'test', 1)
        assert (w['w']==head['i']).all()
    with Lock(tmp_path): assert sorted(os.listdir(tmp_path))==['.lock', path.name] # what was left over is swept up


# Two processes on one run directory

HOLD = '''
import sys, time
from quarantion.files import Lock
with Lock(sys.argv[1]):
    print('held', flush=True)
    time.sleep(600)
'''

def test_two_processes(tmp_path):
    p = start(HOLD, tmp_path)
    try:
        assert p.stdout.readline()=='held\n'
        with pytest.raises(CheckError, match=f'no other process at work on this run, found process {p.pid}'):
            with Lock(tmp_path): pass
        out = python(HOLD, tmp_path) # and another one
        assert out.returncode==1 and 'CheckError' in out.stderr.splitlines()[-1]
        os.kill(p.pid, signal.SIGKILL)
        p.wait()
        with Lock(tmp_path): pass # free at once
    finally:
        p.kill()
        p.wait()
        p.stdout.close()

def test_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyError):
        with Lock(tmp_path): raise KeyError
    with Lock(tmp_path): pass


# Tensors

def test_equal_bytes_in_every_process(tmp_path):
    code = '''
import sys, numpy as np
from quarantion.files import save_tensors
names = [f'layer{i}' for i in range(20)]
save_tensors(sys.argv[1], {n:np.full(3, i, 'f4') for i,n in enumerate(names)},
             dict({n:n for n in set(names)}, format='test', version=1))
'''
    for seed in '012': python(code, tmp_path/seed, env=os.environ|dict(PYTHONHASHSEED=seed), check=True)
    assert len({sha256(tmp_path/s) for s in '012'})==1

def test_truncated_anywhere(tmp_path):
    path = tmp_path/'t'
    save_tensors(path, {'w': np.arange(4.)}, HEAD)
    data = path.read_bytes()
    for n in [*range(0, len(data), 5), len(data)-1]:
        path.write_bytes(data[:n])
        with pytest.raises(CheckError, match='expected a whole safetensors file'): load_tensors(path, 'test', 1)

def test_what_does_not_fit(tmp_path):
    path = tmp_path/'t'
    save_tensors(path, {'w': np.zeros((2,3), 'f4')}, HEAD)
    for args,word in (((path, 'other', 1), 'format: expected other, found test'), ((path, 'test', 2), 'version: expected 2, found 1')):
        with pytest.raises(CheckError, match=word): load_tensors(*args)
    for like,word in (({'w': np.zeros((3,2), 'f4')}, r'\(3, 2\)'), ({'w': np.zeros((2,3))}, 'float64'), ({'v': np.zeros(1)}, "missing .'v'"),
                      ({}, "unknown .'w'")):
        with pytest.raises(CheckError, match=word): load_tensors(path, 'test', 1, like=like)
    for bad in (np.nan, np.inf):
        with pytest.raises(CheckError, match='`w`: expected finite'): save_tensors(path, {'w': np.array([bad])}, HEAD)
    save_tensors(path, {'w': np.array([np.nan])}, HEAD, finite=False)
    with pytest.raises(CheckError, match='`w`: expected finite'): load_tensors(path, 'test', 1)


# Lines

@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 30))
def test_cut_anywhere(tmp_path_factory, n, keep, torn):
    path = tmp_path_factory.mktemp('lines')/'m.jsonl'
    for i in range(n): append_jsonl(path, dict(i=i))
    rest = b'{"i":99,"text":"cut off here"}'[:torn]
    with open(path, 'ab') as f: f.write(rest)
    if keep>n:
        with pytest.raises(CheckError, match=f'at least {keep}, found {n}'): cut_jsonl(path, keep)
        return
    assert cut_jsonl(path, keep)==n-keep+bool(rest)
    append_jsonl(path, dict(i='new'))
    assert [r['i'] for r in read_jsonl(path)]==[*range(keep), 'new']

def test_torn_line_is_said(tmp_path):
    path = tmp_path/'m.jsonl'
    append_jsonl(path, dict(a=1))
    with open(path, 'ab') as f: f.write(b'{"a":2}') # whole but for its newline: not written yet
    with pytest.warns(UserWarning, match='line 2 is torn'): assert read_jsonl(path)==[dict(a=1)]
    with pytest.raises(CheckError, match='torn'): append_jsonl(path, dict(a=3))

@pytest.mark.parametrize('line', [b'{"a":', b'', b'{"a":NaN}', b'\xff'])
def test_bad_line(tmp_path, line):
    path = tmp_path/'m.jsonl'
    path.write_bytes(b'{"a":1}\n'+line+b'\n{"a":3}\n')
    with pytest.raises(CheckError, match='m.jsonl: line 2: expected JSON'): read_jsonl(path)


# The audit

def broken(path, line, field):
    with pytest.raises(CheckError) as e: check_audit(path)
    assert f'audit.jsonl, line {line}: {field}: expected' in str(e.value), str(e.value)

def edit(path, f):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(''.join(f(lines)))

def test_audit_is_whole(run): assert check_audit(run/'audit.jsonl')==read_jsonl(run/'audit.jsonl')[-1]['hash']

@pytest.mark.parametrize('f,line,field', [
    (lambda l: [l[0], l[1].replace('0.91', '0.99'), *l[2:]], 2, 'hash'),
    (lambda l: [l[0], l[1].replace('"epoch"', '"gate"'), *l[2:]], 2, 'hash'),
    (lambda l: [l[0], l[1].replace('{', '{"who":1,', 1), *l[2:]], 2, 'hash'),
    (lambda l: l[1:], 1, 'i'),
    (lambda l: [l[0], *l[2:]], 2, 'i'),
    (lambda l: [l[0], l[2], l[1], l[3]], 2, 'i'),
    (lambda l: [l[0], l[0], *l[1:]], 2, 'i'),
    (lambda l: [*l[:3], l[3][:20]], 4, 'record'),
    (lambda l: [*l[:3], l[3].rstrip('\n')], 4, 'last line'),
    (lambda l: [l[0], 'nonsense\n', *l[2:]], 2, 'record'),
    (lambda l: [l[0], '[1]\n', *l[2:]], 2, 'record'),
    (lambda l: [l[0], l[1].replace('0.91', 'NaN'), *l[2:]], 2, 'record')])
def test_tampering(run, f, line, field):
    edit(run/'audit.jsonl', f)
    broken(run/'audit.jsonl', line, field)
    assert check_manifest(run)['changed']==['audit.jsonl']

def test_a_line_sealed_again_breaks_the_next(run):
    path = run/'audit.jsonl'
    rest = path.read_text().splitlines(keepends=True)[2:]
    cut_jsonl(path, 1)
    audit(path, 'epoch', n=1, accuracy=.99) # a proper line, but the old ones after it hang on another hash
    path.write_text(path.read_text()+''.join(rest))
    broken(path, 3, 'prev')

def test_lines_taken_off_the_end_are_found_by_the_manifest(run):
    edit(run/'audit.jsonl', lambda l: l[:-1])
    check_audit(run/'audit.jsonl') # the chain itself is whole
    assert check_manifest(run)['changed']==['audit.jsonl']

def test_cut_and_go_on(run):
    path = run/'audit.jsonl'
    want = path.read_bytes()
    assert cut_jsonl(path, 2)==2
    for i in (2,3): audit(path, 'epoch', n=i, accuracy=.9+i/100)
    assert path.read_bytes()==want


# The manifest

def test_changed_missing_extra(run):
    assert check_manifest(run)==dict(changed=[], missing=[], extra=[])
    data = bytearray((run/'model.safetensors').read_bytes())
    data[-1] ^= 1 # the size stays
    (run/'model.safetensors').write_bytes(data)
    (run/'checkpoints'/'last.safetensors').unlink()
    write_atomic(run/'figures'/'new.svg', b'<svg/>')
    write_atomic(run/'a', b'')
    assert check_manifest(run)==dict(changed=['model.safetensors'], missing=['checkpoints/last.safetensors'], extra=['a', 'figures/new.svg'])

def test_the_lock_is_not_listed(run):
    with Lock(run): pass
    assert check_manifest(run)==dict(changed=[], missing=[], extra=[])

def doctored(run, seal=False, **changes):
    from quarantion.files import hash_json
    d = json.loads((run/'manifest.json').read_text())|changes
    if seal: d['digest'] = hash_json({k:v for k,v in d.items() if k!='digest'})
    (run/'manifest.json').write_text(json.dumps(d))

@pytest.mark.parametrize('changes,word', [
    (dict(version=2, seal=True), 'version: expected 1, found 2'), (dict(format='other', seal=True), 'format: expected quarantion run'),
    (dict(version=None), 'version'), (dict(files={}), 'digest'), (dict(audit='0'*64), 'digest'), (dict(audit='0'*64, seal=True), 'audit')])
def test_manifest_of_another_kind(run, changes, word):
    doctored(run, **changes)
    with pytest.raises(CheckError) as e: check_manifest(run)
    assert f'manifest.json: {word}' in str(e.value), str(e.value)

@pytest.mark.parametrize('text,word', [('', 'JSON'), ('{"a"', 'JSON'), ('[]', 'an object')])
def test_manifest_that_is_not_one(run, text, word):
    (run/'manifest.json').write_text(text)
    with pytest.raises(CheckError, match=f'manifest.json: contents: expected {word}'): check_manifest(run)

def test_no_manifest(run):
    (run/'manifest.json').unlink()
    with pytest.raises(CheckError, match='manifest.json: file: .*No such file'): check_manifest(run)

def test_no_seal_on_a_broken_audit(run):
    edit(run/'audit.jsonl', lambda l: l[1:])
    with pytest.raises(CheckError, match='line 1'): write_manifest(run)

def test_equal_runs_have_equal_manifests(run, tmp_path):
    first = (run/'manifest.json').read_bytes()
    write_manifest(run)
    assert (run/'manifest.json').read_bytes()==first


# Settings

scalar = st.one_of(st.booleans(), st.integers(-2**63, 2**63-1), st.floats(allow_nan=False, allow_infinity=False),
                   st.text(st.characters(exclude_categories=['Cs'])))

@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(st.characters(max_codepoint=126), max_size=10), scalar, max_size=5))
def test_toml_round_trip(tmp_path_factory, config):
    path = tmp_path_factory.mktemp('toml')/'config.toml'
    write_atomic(path, dump_toml(config).encode())
    back = read_toml(path)
    assert back==config and [type(v) for v in back.values()]==[type(v) for v in config.values()]

@pytest.mark.parametrize('text,word', [
    ('steps = ', 'expected TOML'), ('steps = 1\nsteps = 2', 'expected TOML'), ('[run]\nsteps = 1', '`run`'), ('steps = [1]', '`steps`'),
    ('when = 2026-01-01', '`when`')])
def test_bad_toml(tmp_path, text, word):
    (tmp_path/'run.toml').write_text(text)
    with pytest.raises(CheckError) as e: read_toml(tmp_path/'run.toml')
    assert 'run.toml' in str(e.value) and word in str(e.value)

def test_not_text(tmp_path):
    (tmp_path/'run.toml').write_bytes(b'\xff\xfe')
    with pytest.raises(CheckError, match='run.toml'): read_toml(tmp_path/'run.toml')
