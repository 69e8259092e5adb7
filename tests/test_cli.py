"The command line, from end to end: what it prints, what it leaves on disk, and what it refuses"
import hashlib, json, os, re, shutil, signal, subprocess, sys, time, tomllib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, torch
from commands import refused
from quarantion.checks import CheckError
from quarantion import cli
from quarantion.cli import KEYS
from quarantion.data.digits import load_digits
from quarantion.data.idx import write_idx
from quarantion.files import load_tensors
from quarantion.runtime import load
from quarantion.files import check_audit, read_jsonl
from quarantion.train.config import RUN_VERSION, Config, values_of
from quarantion.train.job import CHECKPOINT, load_data, settings, start

SMALL = '--epochs', '2', '--qat-epochs', '1', '--hidden', '16', '--steps', '10'
MAIN = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from quarantion.cli import main; main()'
# QAT with so few epochs may warn of a coarse threshold
pytestmark = pytest.mark.filterwarnings('default:a threshold of')


def command(*args, before='', **kw):
    "Run `quarantion` as another process; returns exit code, stdout and stderr"
    r = subprocess.run([sys.executable, '-c', f'{before}\n{MAIN}', *map(str, args)], capture_output=True, text=True, timeout=300,
        env=os.environ|dict(OMP_NUM_THREADS='1')|kw.pop('env', {}), **kw)
    return r.returncode,r.stdout,r.stderr

@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "A finished run, and what its process answered"
    out = tmp_path_factory.mktemp('runs')
    answer = command('run', *SMALL, '--json', '--out', out)
    assert answer[0]==0, answer
    return next(out.iterdir()),answer

@pytest.fixture(scope='module')
def done(whole): return whole[0] # Not to be changed

@pytest.fixture
def copy(done, tmp_path): return shutil.copytree(done, tmp_path/'copy') # To be changed

@pytest.fixture
def begun(tmp_path): return start(Config(epochs=2, qat_epochs=1, hidden=16, steps=10), tmp_path) # Killed before its first checkpoint, as it were

def sha(run, *names): return [hashlib.sha256((run/f).read_bytes()).hexdigest() for f in names or ('model.safetensors','integer.safetensors')]


# run: what it prints

def test_json_is_one_object_alone(whole):
    run,(code,out,err) = whole
    d = json.loads(out)
    assert out.count('\n')==1 and list(d)==list(KEYS)=='run data policy seed float_accuracy test_accuracy samples spikes mismatches spike_rate bytes seconds'.split()
    assert (d['run'],d['data'],d['policy'],d['seed'],d['samples'],d['mismatches'])==(str(run),'digits','nonary',0,360,0)
    assert d['spikes']==360*10*(16+10) and 0<d['spike_rate']<1 and 0<d['test_accuracy']<=1 and d['seconds']>0
    assert d['bytes']==(run/'integer.safetensors').stat().st_size

def test_stderr_is_quiet_where_it_is_no_terminal(whole):
    run,(_,_,err) = whole
    assert err==f'run {run}\nreport: {run}/report.html\n'

def test_bars_in_a_terminal(tmp_path):
    ours,theirs = os.openpty()
    with subprocess.Popen([sys.executable, '-c', MAIN, 'run', *SMALL, '--json', '--out', tmp_path], stdout=subprocess.PIPE, stderr=theirs, text=True,
        env=os.environ|dict(OMP_NUM_THREADS='1', TERM='xterm', COLUMNS='140')) as p:
        os.close(theirs)
        seen = b''
        try:
            while part := os.read(ours, 4096): seen += part
        except OSError: pass # how a terminal ends
        os.close(ours)
        out,_ = p.communicate(timeout=60)
    seen = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', seen.decode())
    assert p.returncode==0 and json.loads(out)['mismatches']==0
    for word in r'float .*epoch 2/2, loss \d\.\d+, accuracy 0\.\d+, spikes 0\.\d+', r'qat .*epoch 1/1, loss': assert re.search(word, seen), seen[-2000:]

def test_table(here, done):
    code,out,err = here('report', done)
    assert code==0 and err==f'report: {done}/report.html\n'
    d = json.loads((done/'result.json').read_text())
    for row in ('float accuracy',f"{d['float_accuracy']:.2%}"), ('nonary accuracy','of 360 test samples'), ('spikes compared','93,600'), ('mismatches','0'), \
        ('size on disk',f"{d['bytes']:,} bytes"), ('spike rate','%'), ('time',' s'):
        assert any(all(w in l for w in row) for l in out.splitlines()), row

def test_a_run_ends_with_the_table(here, tmp_path):
    code,out,err = here('run', '--epochs', 1, '--qat-epochs', 0, '--hidden', 8, '--steps', 4, '--out', tmp_path/'[bold]a long folder name, to be seen whole, however long it may be')
    run = next(next(tmp_path.iterdir()).iterdir())
    assert code==0 and re.search('mismatches +│ 0', out) and err.splitlines()==[f'run {run}', f'report: {run}/report.html']

@pytest.mark.parametrize('bad,words', [
    (('--policy','mixed','--budget','.001'), ('`budget`','at least 0.05','0.001')), (('--learn','alpha'), ('`learn`','`neurons` that are synaptic','lif')),
    (('--policy','mint2','--reset','subtract_delayed'), ('layer 1','`membrane`',"reset 'subtract'")), (('--beta','1','--steps','100000'), ('membranes','2^31')),
    (('--policy','float','--gates','max_drop=0.1'), ('`policy`','`gates`')), (('--policy','float','--l1','0.1'), ('`policy`','`l1`')),
    (('--encode','burst','--steps','4'), ('burst','`steps`','at least 5','4')), (('--encode','burst','--steps','4','--policy','float'), ('burst','`steps`','at least 5','4'))])
def test_bad_settings_are_found_before_training(here, tmp_path, bad, words):
    "What cannot work is refused before anything is learned, and no run is left behind"
    refused(here('run', '--hidden', 16, *bad, '--out', tmp_path/'runs'), *words)
    assert not (tmp_path/'runs').exists()

def test_layers_have_one_name_and_floats_one_size(here, done):
    "In the result, the report, and both sections of it"
    result = json.loads((done/'result.json').read_text())
    names = [l['name'] for l in result['layers']]
    _,out,_ = here('report', done, '--show', 'size', '--json')
    rows = json.loads(out)['size']
    assert list(dict.fromkeys(r['name'].split('.')[0] for r in rows if '.' in r['name']))==names==['1','3']
    assert sum(r['real'] for r in rows)==result['float_bytes'] and sum(r['coded'] for r in rows)==result['bytes']

def test_cost_is_told_beside_a_dense_network(here, done, tmp_path):
    "Counts, what NeuroBench says, and energy or why there is none; what is not a section is named"
    code,out,err = here('report', done, '--show', 'cost', '--json')
    d,result = json.loads(out),json.loads((done/'result.json').read_text())
    assert (code,err,d['samples'],d['steps'])==(0,'',360,10) and [r['layer'] for r in d['cost']]==['1','3']
    assert [r['dense'] for r in d['cost']]==[64*16,10*16*10] and d['cost'][1]['effective']<d['cost'][1]['dense']
    assert d['neurobench']['Dense']==sum(r['dense'] for r in d['cost']) and d['neurobench']['Footprint']==4*(64*16+16*3+16*10+10*3)
    assert d['dense']['wanted']==result['test_accuracy'] and d['dense']['samples']==360
    if d['energy']: assert d['energy']['program']['accuracy']==result['test_accuracy'] and d['energy']['dense_8']['accuracy']==d['dense']['accuracy']
    code,out,err = here('report', done, '--show', 'cost')
    assert code==0 and 'NeuroBench counts' in out and ('energy by a model, not measured' in out)==bool(d['energy']) and max(map(len, out.splitlines()))<200
    refused(here('report', done, '--show', 'joules'), '`--show`', 'size, sensitivity, cost')
    assert here('run', '--policy', 'float', '--epochs', 1, '--hidden', 4, '--steps', 3, '--out', tmp_path)[0]==0
    refused(here('report', next(tmp_path.iterdir()), '--show', 'cost'), '--show cost', 'an integer program', 'policy float')

def test_health_is_told_of_any_run(here, begun, copy):
    "Of one that is at work, whose last line is torn; of one that says nothing; not of one that was changed"
    from quarantion.files import append_jsonl, audit
    assert here('report', begun, '--show', 'health')[:2]==(0,f'{begun.name}: no epoch says anything of its health\n')
    alarm = dict(cause='silent', where='layer 1', level='error', said='all neurons are silent', remedy='lower θ', price='nothing', signal='dead')
    for k in range(3):
        layers = [dict(name='1', rate=.1, dead=.5*k), dict(name='3', rate=.2, grad=None, nan=['grad'])]
        append_jsonl(begun/'metrics.jsonl', dict(phase='float', epoch=k, loss=1., health=dict(layers=layers, alarms=[alarm]*(k>1))))
    audit(begun/'audit.jsonl', 'intervened', cause='silent', where='layer 1', action='lower_theta', before=1., after=.5, epoch=2, phase='float')
    with open(begun/'metrics.jsonl', 'a') as f: f.write('{"phase"')
    code,out,err = here('report', begun, '--show', 'health')
    assert (code,err)==(0,'') and 'epoch 3, layer 1: all neurons are silent. Try: lower θ' in out and 'dead ▁▅█' in out and 'after epoch 3, layer 1: lower_theta: 1.0 → 0.5' in out
    d = json.loads(here('report', begun, '--show', 'health', '--json')[1])
    assert d['health']==[dict(layer='1', rate=.1, dead=1.), dict(layer='3', rate=.2, grad=None), dict(layer='network', loss=1.)]
    assert (d['epochs'],d['alarms'][0]['curve'],d['interventions'][0]['column'])==(3,[0.,.5,1.],3)
    with open(copy/'metrics.jsonl', 'a') as f: f.write('{}\n')
    refused(here('report', copy, '--show', 'health'), 'metrics.jsonl', 'sealed')

def test_chips_and_a_card_are_told(here, done, copy, tmp_path):
    "An estimate with its sources; Markdown from sealed files; a folder that is loaded again"
    from quarantion.export import from_hub
    code,out,_ = here('report', done, '--show', 'targets', '--json')
    d = json.loads(out)
    assert code==0 and 'no vendor tool ran' in d['estimate'] and all(r['sources'] and r['fits'] in ('yes','no','unknown','with changes') for r in d['targets'])
    code,out,_ = here('report', done, '--show', 'targets')
    assert code==0 and 'an estimate: no vendor tool ran' in out and 'Loihi 2' in out and 'https://rockpool.ai' in out
    result = json.loads((done/'result.json').read_text())
    code,out,_ = here('report', done, '--show', 'card')
    assert code==0 and out.startswith('---\nlibrary_name') and f'| spikes compared | {result["spikes"]:,} |' in out and '```mermaid' in out
    code,said,_ = here('report', done, '--show', 'card', '--json')
    assert json.loads(said)['card']==out
    code,out,_ = here('export', done, '--to', 'hub', '--out', tmp_path/'hub', '--json')
    assert code==0 and json.loads(out)['proved'] and json.loads(out)['samples']==1000 and str(tmp_path) not in (tmp_path/'hub/README.md').read_text()
    assert from_hub(tmp_path/'hub').digest==load(done/'integer.safetensors').digest
    np.save(tmp_path/'x.npy', np.zeros((2,*load(done/'integer.safetensors').in_shape)))
    refused(here('infer', tmp_path/'hub', '--input', tmp_path/'x.npy'), 'one of a hub: infer and export take its model.safetensors')
    assert here('infer', tmp_path/'hub/model.safetensors', '--input', tmp_path/'x.npy')[0]==0
    assert here('export', done/'integer.safetensors', '--to', 'hub', '--out', tmp_path/'file')[0]==0 and 'Nothing is known of a run' in (tmp_path/'file/README.md').read_text()
    (copy/'result.json').write_text((copy/'result.json').read_text().replace('"samples": 360', '"samples": 361'))
    for words in (('report', copy, '--show', 'card'), ('export', copy, '--to', 'hub', '--out', tmp_path/'x')): refused(here(*words), 'result.json', 'sealed')

def test_what_is_drawn_lies_in_the_run(here, copy, tmp_path, monkeypatch):
    "The figure of a section is no change of a sealed run; a link of its name is"
    (tmp_path/'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path/'elsewhere')
    code,out,err = here('report', copy, '--show', 'sensitivity', '--json')
    assert code==0 and f'figure: {copy}/sensitivity.png' in err and (copy/'sensitivity.png').read_bytes()[:4]==b'\x89PNG'
    assert {r['layer'] for r in json.loads(out)['sensitivity']}=={'1','3'}
    assert not list((tmp_path/'elsewhere').iterdir())
    assert here('verify', copy)[0]==0
    (copy/'sensitivity.png').unlink()
    (copy/'sensitivity.png').symlink_to(copy/'report.html')
    assert here('verify', copy)[0]==1

def test_run_directory(done):
    assert {p.name for p in done.iterdir()}-{'.lock'}=={'config.toml','metrics.jsonl','audit.jsonl','checkpoints','model.safetensors','integer.safetensors',
        'report.html','figures','manifest.json','result.json','sample.safetensors','policy.toml'}
    assert [(m['phase'],m['epoch']) for m in read_jsonl(done/'metrics.jsonl')]==[('float',0),('float',1),('qat',0)]
    assert [a['event'] for a in read_jsonl(done/'audit.jsonl')]==['started','epoch','epoch','epoch','trained','lowered','proved','finished']
    assert json.loads((done/'manifest.json').read_text())['audit']==check_audit(done/'audit.jsonl')
    assert not [p for p in done.rglob('*') if p.name.endswith('.tmp')] and len(list((done/'figures').glob('*.png')))>=8

def test_report_is_one_file(done):
    page = (done/'report.html').read_text()
    links = re.findall(r'''(?:src|href|srcset|action|data)\s*=\s*["']?([^"'\s>]+)''', page)
    assert len(links)>=8 and all(l.startswith('data:image/png;base64,') for l in links)
    assert not re.search(r'@import|url\(|<script|<link|<iframe', page)
    for word in ('Accuracy','Confusion matrix','Mismatches','Spikes compared','Compression','Spike rate','integer.safetensors','membrane','spikes of the first layer'): assert word.lower() in page.lower(), word

@pytest.mark.parametrize('encode,reset,policy', [('direct','subtract','int8'), ('rate','subtract_delayed','int4'), ('latency','zero','ternary'), ('direct','none','nonary'),
    ('log_latency','subtract','int8'), ('delta','subtract','ternary'), ('population','subtract','nonary'), ('thermometer','zero','int4'), ('phase','subtract','int8'), ('burst','subtract','nonary')])
def test_encoders_resets_and_policies(here, tmp_path, encode, reset, policy):
    code,out,err = here('run', '--epochs', 2, '--qat-epochs', 1, '--hidden', 24, '--steps', 12, '--lr', .01, '--encode', encode, '--reset', reset, '--policy', policy, '--json', '--out', tmp_path)
    assert code==0, err
    d = json.loads(out)
    assert d['mismatches']==0 and d['spikes']==360*12*34 and d['policy']==policy
    run = next(tmp_path.iterdir())
    assert f'encode = "{encode}"\n' in (run/'config.toml').read_text() and load(run/'integer.safetensors').layers[0].reset==reset

def test_float_skips_lowering_and_proof(here, tmp_path):
    code,out,err = here('run', *SMALL, '--policy', 'float', '--out', tmp_path)
    run = next(tmp_path.iterdir())
    assert code==0 and 'skipped' in out and not (run/'integer.safetensors').exists()
    assert 'skipped' in (run/'report.html').read_text()
    code,out,_ = here('report', run, '--json')
    d = json.loads(out)
    assert code==0 and d['mismatches'] is None and d['spikes']==0 and d['test_accuracy']==d['float_accuracy']
    code,out,_ = here('verify', run)
    assert code==0 and 'no proof: policy float' in out and 'whole' in out


# run: its settings

def test_config_file_and_overrides(here, tmp_path):
    file = tmp_path/'run.toml'
    file.write_text('hidden = 12\nsteps = 7\nbeta = 1\npolicy = "int4"\n')
    code,out,err = here('run', '--config', file, '--steps', 9, '--seed', 3, '--dump-config')
    assert (code,err)==(0,'')
    want = values_of(Config(hidden=12, steps=9, beta=1., policy='int4', seed=3))|dict(out='runs')
    assert tomllib.loads(out)=={k:list(v) if isinstance(v, tuple) else v for k,v in want.items()}
    assert tomllib.loads(here('run', '--config', file, '--out', tmp_path, '--dump-config')[1])['out']==str(tmp_path)

def test_dumped_settings_are_a_config_file(here, tmp_path):
    file = tmp_path/'run.toml'
    file.write_text(first := here('run', '--encode', 'rate', '--lr', .003, '--data', 'mnist', '--data-dir', 'a "b" ü', '--dump-config')[1])
    assert here('run', '--config', file, '--dump-config')==(0, first, '')

@pytest.mark.parametrize('written', ['learn = ["beta", "slope"]', 'learn = "beta,slope"', 'learn = ["beta,slope"]']) # the second as in files of before
def test_lists_are_lists(here, tmp_path, written):
    file = tmp_path/'run.toml'
    file.write_text(written+'\ngates = ["max_drop=0.5"]')
    said = lambda *args: tomllib.loads(here('run', *args, '--dump-config')[1])
    assert (said('--config', file)['learn'],said('--config', file)['gates'])==(['beta','slope'],['max_drop=0.5'])
    assert said('--config', file, '--learn', 'threshold', '--learn', 'beta')['learn']==['threshold','beta']
    assert said('--config', file, '--learn', '')['learn']==[]

def test_the_settings_of_a_run_are_a_config_file(here, done):
    code,out,_ = here('run', '--config', done/'config.toml', '--dump-config')
    assert code==0 and out.replace('out = "runs"\n', f'version = {RUN_VERSION}\n')==(done/'config.toml').read_text()

def test_each_setting_is_an_option_and_help_tells_its_default(here):
    code,text,_ = here('run', '--help')
    text = ' '.join(text.split())
    assert code==0 and '--version' not in text
    others = {d:values_of(Config(data=d+':x'*(d in ('npy','idx','events')))) for d in ('mnist','npy','idx','events')}
    for k,v in values_of(Config()).items():
        kind = '' if v is False else r'<[\w\[\]]+> '
        said = re.search(rf'--{k.replace("_", "-")} {kind}(.*?)(?= --| -h|$)', text)[1]
        differ = ', '.join(f'{d}: {o[k]}' for d,o in others.items() if k!='data' and o[k]!=v)
        more = f' ({differ})' if differ else ''
        assert said.endswith(f'default {"none" if v in ("",()) else "no" if v is False else v}{more}.'), (k,v,said)

def test_defaults_are_those_of_the_data(here, tmp_path):
    "What is said stands, also where it is the default of other data; a run keeps the numbers it was begun with"
    said = lambda *args: tomllib.loads(here('run', *args, '--dump-config')[1])
    front = dict(hidden=1000, epochs=10, qat_epochs=8, batch=256, lr=.0015) # as on the front page
    assert front.items()<=said('--data', 'mnist').items() and dict(front, epochs=30).items()<=said('--data', 'mnist', '--epochs', 30).items()
    assert dict(hidden=256, epochs=30, qat_epochs=15, batch=64, lr=.002).items()<=said().items()
    file = tmp_path/'run.toml'
    file.write_text('data = "mnist"\nhidden = 12')
    assert dict(front, hidden=12).items()<=said('--config', file).items() and said('--config', file, '--data', 'digits')['epochs']==30
    run = start(Config(data='mnist', batch=64), tmp_path/'runs')
    assert dict(front, batch=64).items()<=tomllib.loads((run/'config.toml').read_text()).items()
    kept = (run/'config.toml').read_text().replace('epochs = 10', 'epochs = 30')
    (run/'config.toml').write_text(kept) # as an older run would have it
    assert settings(run).epochs==30 and values_of(settings(run))|dict(epochs=10)==values_of(Config(data='mnist', batch=64))

@pytest.mark.parametrize('args,words', [
    (('--steps',0), ('`steps`','[1, 1e6]','found 0')), (('--hidden',0), ('`hidden`','[1, 1e6]')), (('--epochs',0), ('`epochs`',)), (('--qat-epochs',-1), ('`qat_epochs`','[0, 1e6]')),
    (('--batch',0), ('`batch`',)), (('--seed',-1), ('`seed`',)), (('--seed',10**30), ('`seed`','[0, 4294967295]')), (('--hidden',10**12), ('`hidden`','found 1,000,000,000,000')),
    (('--beta',1.5), ('`beta`','[0, 1]','1.5')), (('--beta',-.1), ('`beta`','-0.1')), (('--beta','nan'), ('`beta`','nan')), (('--threshold',0), ('`threshold`','0')),
    (('--threshold',-1), ('`threshold`','-1')), (('--threshold','inf'), ('`threshold`','inf')), (('--lr',0), ('`lr`',)), (('--policy','int5'), ('`policy`','nonary',"'int5'")),
    (('--encode','morse'), ('`encode`','latency',"'morse'")), (('--reset','hard'), ('`reset`','subtract_delayed',"'hard'")), (('--data','cifar'), ('`data`','mnist',"'cifar'")),
    (('--learn','beta,sleep'), ('`learn`','slope',"'sleep'")), (('--learn','alpha'), ('`learn`','alpha')), (('--gates','max_drop'), ('`gates`','number')), (('--prune','1'), ('`prune`','[0, 1)')),
    (('--device','abacus'), ('`device`','cpu',"'abacus'")), (('--device','cuda:99'), ('`device`','cuda:99')), (('--device','cuda:-1'), ('`device`','cuda:N',"'cuda:-1'")), (('--device','cuda:x'), ('`device`','cuda:N',"'cuda:x'")), (('--data-dir','x'), ('`data_dir`','mnist',"'x'")),
    (('--loss','ce_rat'), ('`loss`','ce_rate',"'ce_rat'")), (('--loss','ce:-1'), ('`ce:-1`','weight',"'-1'")), (('--loss','ce:nan'), ('weight',"'nan'")), (('--loss','ce','--l1',.1), ('`loss`','`l1` 0.1')),
    (('--loss','rate_ceiling'), ('`loss`','labels','rate_ceiling')),
    (('--flavour','sweet'), ('--flavour',)), (('--epochs','many'), ('`--epochs`','a whole number',"'many'")), (('--steps',), ('--steps','requires')), (('more',), ('more',)),
    (('--config','nowhere.toml'), ('nowhere.toml','No such file'))])
def test_refused(here, tmp_path, args, words):
    refused(here('run', '--out', tmp_path/'runs', *args), *words)
    assert not (tmp_path/'runs').exists()

@pytest.mark.parametrize('text,words', [
    ('stepz = 3', ('key `stepz`','one of data, ','device, found stepz')), ('steps = "3"', ('`steps`','a whole number',"'3'")), ('steps = 2.0', ('`steps`','2.0')), ('beta = true', ('`beta`','True')),
    ('steps = 0', ('`steps`','[1, 1e6]')), ('policy = 3', ('`policy`','a string','3')), ('[run]\nsteps = 3', ('`run`','dict')), ('steps = ', ('TOML',)), ('version = 3', ('version','2','3')), ('learn = [1]', ('`learn`','list')), ('learn = 1', ('`learn`','a list of words')), ('seed = [1]', ('`seed`','list'))])
def test_refused_config_files(here, tmp_path, text, words):
    file = tmp_path/'bad.toml'
    file.write_text(text)
    refused(here('run', '--config', file, '--epochs', 3, '--out', tmp_path/'runs'), 'bad.toml: ', *words)

def test_an_option_may_mend_a_file_and_is_blamed_for_itself(here, tmp_path):
    file = tmp_path/'run.toml'
    file.write_text('steps = 0')
    assert here('run', '--config', file, '--steps', 5, '--dump-config')[0]==0
    file.write_text('steps = 5')
    answer = here('run', '--config', file, '--steps', 0, '--dump-config')
    refused(answer, 'settings: `steps`')
    assert 'run.toml' not in answer[2]

def test_usage(here):
    code,out,err = here()
    assert code==2 and out=='' and err.startswith('Usage:') and all(v in err for v in ('run','verify','report','info'))
    refused(here('fly'), "'fly'")
    refused(here('verify'), "'run'")

def test_an_instruction_set_that_is_not_there():
    refused(command('info', env=dict(QUARANTION_ISA='x86-64-v9')), 'QUARANTION_ISA', 'x86-64-v9')


# verify, report, info

def test_verify(here, done):
    before = sorted((p.name, p.stat().st_mtime_ns) for p in done.rglob('*') if p.name!='.lock')
    code,out,_ = here('verify', done)
    assert code==0 and out=='93,600 spike values compared over 360 samples: 0 mismatches\nmanifest and audit chain are whole\n'
    code,out,_ = here('verify', done, '--json')
    d = json.loads(out)
    assert code==0 and (d['run'],d['spikes'],d['mismatches'],d['samples'],d['problems'])==(str(done),93_600,0,360,[])
    assert before==sorted((p.name, p.stat().st_mtime_ns) for p in done.rglob('*') if p.name!='.lock')

def problems(here, run):
    code,out,_ = here('verify', run, '--json')
    assert code==1
    return json.loads(out)['problems']

def test_verify_names_changed_missing_and_extra_files(here, copy):
    (copy/'report.html').write_text('<p>all is well</p>')
    (copy/'checkpoints'/'last.safetensors').unlink()
    (copy/'figures'/'notes.txt').write_text('mine')
    assert problems(here, copy)==['changed: report.html', 'missing: checkpoints/last.safetensors', 'extra: figures/notes.txt']
    code,out,_ = here('verify', copy)
    assert code==1 and '0 mismatches' in out and 'PROBLEM: changed: report.html' in out
    refused(here('run', '--resume', copy), 'report.html (changed)', 'notes.txt (extra)')

@pytest.mark.parametrize('name', ['config.toml','model.safetensors','integer.safetensors','audit.jsonl','metrics.jsonl','result.json'])
def test_verify_names_what_is_missing(here, copy, name):
    (copy/name).unlink()
    assert f'missing: {name}' in problems(here, copy)

def test_verify_names_a_broken_audit_line(here, copy):
    log = copy/'audit.jsonl'
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(''.join(lines[:2]+[lines[2].replace('"loss":', '"loss":1')]+lines[3:]))
    found = problems(here, copy)
    assert 'changed: audit.jsonl' in found and any('audit.jsonl, line 3' in p for p in found)

def test_verify_finds_one_threshold_that_is_one_too_high(here, copy):
    path = copy/'integer.safetensors'
    program = load(path)
    fires = program.record(load_data(Config()).x_test.numpy())[0].spk.sum((0,1))
    theta = np.array(program.layers[0].theta)
    theta[fires.argmax()] += 1
    object.__setattr__(program.layers[0], 'theta', theta)
    program.save(path)
    code,out,_ = here('verify', copy, '--json')
    d = json.loads(out)
    assert code==1 and d['mismatches']>0 and 'changed: integer.safetensors' in d['problems'] and any('differ' in p for p in d['problems'])

def test_report(here, done, copy, tmp_path):
    code,out,_ = here('report', done, '--json')
    assert code==0 and list(json.loads(out))==list(KEYS)
    assert here('report', done, '--html', tmp_path/'page.html')==(0, here('report', done)[1], f'report: {tmp_path}/page.html\n')
    assert (tmp_path/'page.html').read_text()==(done/'report.html').read_text() and here('verify', done)[0]==0
    assert json.loads(here('report', copy, '--json')[1])['run']==str(copy) # it was moved

def test_info(here):
    code,out,_ = here('info', '--json')
    d = json.loads(out)
    assert code==0 and {'quarantion','python','torch','numpy','snntorch','compiled','isa','isas','threads','cuda'}<=d.keys()
    assert {'lif','nonary'}<=set(d['compiled']) and all(d['compiled'].values()) and isinstance(d['threads'], int)
    code,out,_ = here('info')
    assert code==0 and 'torch' in out and 'isa' in out and '{' not in out
    assert ('is built without CUDA' in out)==(torch.version.cuda is None)

@pytest.mark.skipif(torch.version.cuda is not None, reason='torch with CUDA')
def test_a_device_that_torch_was_not_built_for_says_so(here, tmp_path):
    refused(here('run', '--out', tmp_path/'runs', '--device', 'cuda'), '`device`', "'cuda', and there are 0", f'torch {torch.__version__} is built without CUDA')

@pytest.mark.parametrize('verb', [('run','--resume'), ('verify',), ('report',)])
def test_another_version(here, copy, verb):
    config = copy/'config.toml'
    config.write_text(config.read_text().replace(f'version = {RUN_VERSION}', 'version = 3'))
    refused(here(*verb, copy), 'config.toml: `version`', 'version 2', 'found 3')

def test_one_process_does_what_is_not_shared(here, done, monkeypatch):
    for k,v in dict(RANK='0', WORLD_SIZE='2').items(): monkeypatch.setenv(k, v)
    code,out,err = here('verify', done)
    assert code==0 and '0 mismatches' in out and '`verify`: expected one process, as only run is shared, found 2: one does it' in err
    monkeypatch.setattr('quarantion.cli._RANK', 1)
    assert here('verify', done)==(0,'','')

def test_a_run_that_lost_a_rank_says_how_it_goes_on(monkeypatch, capsys):
    def lost(*_): raise RuntimeError('gloo: Connection reset by peer')
    @contextmanager
    def begun(*_, **__): yield Path('runs/a'),'data'
    monkeypatch.setattr('quarantion.train.together.begun', begun)
    monkeypatch.setattr('quarantion.cli._work', lost)
    for restarts in '0','3': # `torchrun` starts it again
        monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', restarts)
        with pytest.raises(RuntimeError, match='gloo'): cli._go_together(None, {}, None, None, None, None)
        assert ('run runs/a stands; go on with: quarantion run --resume runs/a\n' in capsys.readouterr().err)==(restarts=='0')

def test_what_is_no_run_or_not_finished(here, begun, tmp_path):
    for verb in ('run','--resume'), ('verify',), ('report',): refused(here(*verb, tmp_path/'nowhere'), 'nowhere')
    refused(here('verify', begun), 'manifest.json', f'quarantion run --resume {begun}')
    refused(here('report', begun), 'result.json', 'a finished run', f'go on with: quarantion run --resume {begun}')


# resume

def test_resume_of_a_finished_run_prints_its_result(here, done, whole):
    code,out,err = here('run', '--resume', done, '--json')
    assert (code,out)==(0,whole[1][1]) and f'{done} is finished; nothing to do' in err

@pytest.mark.parametrize('more', [('--epochs','9'), ('--policy','int8'), ('--config','x.toml'), ('--out','x'), ('--dump-config',), ('--qat-epochs','2','--seed','0')])
def test_resume_with_other_settings(here, done, more):
    refused(here('run', '--resume', done, *more), '--resume', *(m for m in more if m.startswith('--')))

def test_two_processes_on_one_run(here, begun):
    code = 'import sys; from quarantion.files import Lock\nwith Lock(sys.argv[1]): print("held", flush=True); sys.stdin.read()'
    with subprocess.Popen([sys.executable, '-c', code, begun], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline()=='held\n'
        refused(here('run', '--resume', begun), str(begun), 'no other process', f'process {other.pid}')
        other.stdin.close()
    code,out,_ = here('run', '--resume', begun, '--json')
    assert code==0 and json.loads(out)['mismatches']==0

def test_disk_full_while_saving(here, done, tmp_path):
    limit = (done/'checkpoints'/'last.safetensors').stat().st_size-1 # the float phase fits, the first quantized checkpoint does not
    code,out,err = command('run', *SMALL, '--out', tmp_path, before=f'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},{limit}))')
    run = next(tmp_path.iterdir())
    assert (code,out)==(2,'') and err.splitlines()[1:]==[f'the disk is full; what was saved is whole; go on with: quarantion run --resume {run}',
        f'quarantion: {run}/checkpoints/last.safetensors: saving: expected to write {limit+1} bytes, found File too large']
    _,head = load_tensors(run/'checkpoints'/'last.safetensors', CHECKPOINT, RUN_VERSION)
    assert (head['phase'],head['epoch'])==('float',2) and not list(run.rglob('*.tmp'))
    code,out,err = command('run', '--resume', run, '--json')
    assert code==0 and sha(run)==sha(done) and json.loads(out)['mismatches']==0
    assert here('verify', run)[0]==0

def test_interrupted_by_hand(tmp_path):
    with subprocess.Popen([sys.executable, '-c', MAIN, 'run', '--epochs', '100000', '--hidden', '16', '--steps', '5', '--out', tmp_path/'a b'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ|dict(OMP_NUM_THREADS='1')) as p:
        run,end = None,time.monotonic()+100
        while time.monotonic()<end and p.poll() is None and not list(tmp_path.glob('*/*/checkpoints/last.safetensors')): time.sleep(.1)
        p.send_signal(signal.SIGINT)
        out,err = p.communicate(timeout=60)
    run = next((tmp_path/'a b').iterdir())
    err = re.sub(r'float: .* an epoch, about .* of work to the end of epoch 100000\n', '', err) # if its first epoch was over
    assert (p.returncode,out)==(130,'') and err==f"run {run}\ninterrupted; go on with: quarantion run --resume '{run}'\n"
    assert load_tensors(run/'checkpoints'/'last.safetensors', CHECKPOINT, RUN_VERSION)[1]['epoch']>=1


# data and numbers

def mnist(folder, n=60, test=20):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part,k in ('train',n), ('t10k',test):
        y = np.arange(k)%10
        x = rng.integers(0, 60, (k,28,28))
        for i,c in enumerate(y): x[i, 2*c:2*c+4] += 180 # a bar at a height of its own
        write_idx(folder/f'{part}-images-idx3-ubyte.gz', x.astype(np.uint8))
        write_idx(folder/f'{part}-labels-idx1-ubyte.gz', y.astype(np.uint8))
    return folder

def test_mnist(here, tmp_path, monkeypatch):
    folder = mnist(tmp_path/'mnist')
    monkeypatch.chdir(tmp_path)
    code,out,err = here('run', '--data', 'mnist', '--data-dir', 'mnist', *SMALL, '--batch', 10, '--json', '--out', tmp_path/'runs')
    assert code==0, err
    d = json.loads(out)
    assert (d['data'],d['samples'],d['spikes'],d['mismatches'])==('mnist',20,20*10*26,0)
    monkeypatch.chdir('/')
    assert f'data_dir = "{folder}"\n' in (run := next((tmp_path/'runs').iterdir())).joinpath('config.toml').read_text()
    assert here('verify', run)[0]==0

def test_bad_data_leaves_no_run(here, tmp_path):
    folder = mnist(tmp_path/'mnist')
    name = folder/'train-labels-idx1-ubyte.gz'
    name.write_bytes(name.read_bytes()[:-9])
    for where,words in ((folder, ('train-labels-idx1-ubyte.gz','gzip')), (tmp_path/'nowhere', ('nowhere','no folder'))):
        refused(here('run', '--data', 'mnist', '--data-dir', where, '--out', tmp_path/'runs'), *words)
    assert not (tmp_path/'runs').exists()

@pytest.mark.filterwarnings('default:.*codes are 0')
def test_a_threshold_that_nothing_reaches(here, tmp_path):
    code,out,err = here('run', '--epochs', 1, '--qat-epochs', 0, '--hidden', 8, '--steps', 4, '--threshold', 1e6, '--out', tmp_path)
    assert code==1 and 'NOT PROVED: layer 1: never fires' in err    # no weight reaches such a threshold: every code is 0

def test_weights_that_overflow_the_integer_range():
    import torch
    from quarantion.quant import lower, preset, prepare
    from quarantion.spikes.network import Network
    from quarantion.spikes.neuron import LIF
    net = Network(torch.nn.Linear(64, 4), LIF(1., 1., 'subtract'), torch.nn.Linear(4, 3), LIF(1., 1., 'none'), steps=25)
    with torch.no_grad(): net.layers[0].bias[:] = 1e6
    x = load_data(Config()).x_test[:8]
    with pytest.raises(CheckError, match=r'2\^31|int32'): lower(prepare(net, preset('nonary'), x))


def linked(page):
    "The notebooks that a notebook links to"
    return [page.parent/link for link in re.findall(r'\]\(([\w./]+\.(?:ipynb|html))', page.read_text())]

def test_lab_copies_the_tutorials_and_keeps_what_is_there(tmp_path):
    mine = tmp_path/'t'/'tutorials'/'01_first_spikes.ipynb'
    mine.parent.mkdir(parents=True)
    mine.write_text('mine')
    r = subprocess.run([sys.executable, '-m', 'quarantion.cli', 'lab', 't', '--version'], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert r.returncode==0 and r.stdout.strip()[0].isdigit(), r.stderr
    assert mine.read_text()=='mine' and re.search(r'notebooks in t: \d+ copied, 1 there already', r.stderr)
    pages = sorted((tmp_path/'t').rglob('*.ipynb'))
    links = [(p.name, link) for p in pages for link in linked(p)]
    assert len(links)>50 and not [(p, link) for p, link in links if not link.is_file()]
    assert not [p for p in pages if 'nbdev_export()' in p.read_text()], 'a copy must not write over a library'

def test_what_tutorials_link_to_is_in_the_package():
    package = Path(__file__).parent.parent/'quarantion'/'notebooks'
    pages = list(package.rglob('*.ipynb'))
    if not pages: pytest.skip('nothing is built here')
    assert len(pages)>=9 and not [(p.name, link) for p in pages for link in linked(p) if not link.is_file()]


def test_look_opens_a_notebook_that_reads_the_run(done, tmp_path):
    "The run stays sealed, the notebook of before stays as it is, and what is in it runs"
    call = lambda: subprocess.run([sys.executable, '-m', 'quarantion.cli', 'look', str(done), '--version'], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    r = call()
    path = tmp_path/f'{done.name}.ipynb'
    assert r.returncode==0, r.stderr
    cells,ns = [c['source'] for c in json.loads(path.read_text())['cells'][1:]],{}
    for c in cells:
        *lines,last = c.splitlines()
        exec('\n'.join(lines), ns)
        shown = eval(last, ns)
        assert getattr(getattr(shown, 'message', None), 'value', '')=='' and len(repr(shown))>10, c
    assert len(cells)==4
    path.write_text('{}')
    assert 'is there already' in call().stderr and path.read_text()=='{}'


def test_lab_refuses_a_folder_that_is_a_file(tmp_path, here):
    (tmp_path/'t').write_text('a file')
    refused(here('lab', tmp_path/'t'), 'notebooks', 'a folder that can be written to')


def test_lab_copies_what_is_newest_in_a_checkout(): # the package may hold the copy of an older build
    from quarantion.cli import _notebooks
    assert _notebooks()==Path(__file__).parent.parent/'nbs'


# runs, latest, --version

def test_a_terminal_that_has_few_letters(tmp_path):
    "What it cannot show is escaped, as on stderr"
    (tmp_path/'ö').mkdir()
    code = MAIN.replace('main()', f"main(['runs',{str(tmp_path/'ö')!r}])")
    p = subprocess.run([sys.executable, '-c', code], env=os.environ|dict(PYTHONIOENCODING='ascii'), capture_output=True)
    assert p.returncode==0 and b'0 runs in' in p.stdout and p.stdout.isascii(), p.stderr[-300:]

def test_version(here):
    from quarantion import __version__
    assert here('--version')==(0, f'quarantion {__version__}\n', '')

def test_runs_lists_what_was_run(done, begun, tmp_path, here):
    shutil.copytree(done, tmp_path/'done')
    (tmp_path/'broken').mkdir()
    (tmp_path/'broken'/'config.toml').write_text('x = = 1')
    code,out,err = here('runs', tmp_path, '--json')
    assert code==0 and out.count('\n')==1 and re.fullmatch(r'\S+broken cannot be read: .*expected TOML.*\n', err)
    d = json.loads(out)
    r = {Path(r['run']).name:r for r in d['runs']}
    assert d['folder']==str(tmp_path) and r.keys()=={'done',begun.name} and not r[begun.name]['finished']
    result = json.loads((done/'result.json').read_text())
    assert r['done']['finished'] and all(r['done'][k]==result[k] for k in KEYS if k!='run')
    code,out,err = here('runs', tmp_path)
    assert code==0 and f'{result["bytes"]:,}' in out and f'{result["test_accuracy"]:.2%}' in out
    assert f'go on with: quarantion run --resume {begun}' in err

def test_runs_are_told_apart_by_what_differs(done, tmp_path, here):
    for i in range(2): shutil.copytree(done, tmp_path/f'r{i}')
    assert json.loads(here('runs', tmp_path, '--json')[1])['runs'][0]['settings']=={}
    f = tmp_path/'r1'/'config.toml'
    f.write_text(f.read_text().replace('seed = 0', 'seed = 7'))
    assert [r['settings'] for r in json.loads(here('runs', tmp_path, '--json')[1])['runs']]==[dict(seed=0), dict(seed=7)]
    refused(here('runs', tmp_path/'none'), 'none', 'a folder of runs')

def test_latest_is_the_newest_finished_run(done, begun, tmp_path, here, monkeypatch):
    refused(here('verify', tmp_path/'latest'), 'latest', 'a finished run, found none')
    for i,name in enumerate('ba'):
        shutil.copytree(done, tmp_path/'runs'/name)
        os.utime(tmp_path/'runs'/name/'config.toml', (i, i))
    monkeypatch.chdir(tmp_path)
    for words in ('report','latest'), ('verify','runs/latest'):
        code,out,err = here(*words)
        assert code==0 and err.startswith('run runs/a\n'), (out,err)
    shutil.copytree(done, tmp_path/'latest') # a folder of that name is meant where there is one
    assert json.loads(here('verify', 'latest', '--json')[1])['run']=='latest'

def test_latest_everywhere(done, begun, tmp_path, here, monkeypatch):
    "The newest run is gone on with, and has its health told, finished or not; it can be promoted and compared; as a folder of runs it is none"
    monkeypatch.chdir(tmp_path)
    shutil.copytree(done, tmp_path/'runs/a')
    os.utime(tmp_path/'runs/a/config.toml', (1, 1))
    code,out,err = here('run', '--resume', 'latest')
    assert code==0 and err.startswith('run runs/a\nruns/a is finished; nothing to do\n')
    shutil.move(begun, tmp_path/'runs/b')
    monkeypatch.setattr('quarantion.cli._work', lambda run, *_: print(f'at work on {run}'))
    assert here('run', '--resume', 'latest')==(0, 'at work on runs/b\n', 'run runs/b\n')
    assert here('report', 'latest', '--show', 'health')[2].startswith('run runs/b\n') and here('report', 'latest')[2].startswith('run runs/a\n')
    shutil.copytree(done, tmp_path/'runs/c')
    os.utime(tmp_path/'runs/c/config.toml', (2, 2))
    assert here('runs', '--diff', 'a', 'latest')[1].startswith('A  runs/a\nB  runs/c\n')
    refused(here('runs', '--diff', 'c', 'latest'), 'two of them')
    refused(here('runs', 'latest'), 'a folder of runs, found the newest run, which `report` shows')
    refused(here('runs', 'runs/b'), 'a folder of runs, found a run itself, which `report` shows')

@pytest.mark.parametrize('words', ['verify', 'report', 'look', 'run --resume', 'export --to c', 'infer --input x.npy'])
def test_what_is_no_run(words, begun, tmp_path, here):
    "What is there is said"
    (tmp_path/'folder').mkdir()
    for where,said in ((tmp_path, f'found a folder of runs, whose newest is {tmp_path/"latest"}'), (tmp_path/'none', 'found none'), (tmp_path/'folder', 'found no config.toml')):
        refused(here(*words.split(), where), 'expected a run directory', said)
    if words.split()[0] in ('verify','report','run'): refused(here(*words.split(), begun/'config.toml'), 'found a file')

def test_no_runs_are_no_table(done, tmp_path, here):
    assert here('runs', tmp_path)==(0, f'0 runs in {tmp_path}\n', '')
    shutil.copytree(done, tmp_path/'a')
    assert here('runs', tmp_path, '--where', 'policy=int8')==(0, f'0 of 1 run in {tmp_path}\n', '')

def test_words_that_are_no_numbers(here):
    "Expected and found, as everywhere"
    for words,said in (('run --epochs many', "`--epochs`: expected a whole number, found 'many'"), ('run --beta x', "`--beta`: expected a number, found 'x'"),
                       ('waves --steps 1.5', "`--steps`: expected a whole number, found '1.5'"), ('infer r --input x --step-us -3', "`--step-us`: expected greater than or equal to 0, found '-3'")):
        refused(here(*words.split()), said)

def test_help_is_whole(here):
    "No line of the list of commands is cut, in a terminal of 80 letters; the page counts them"
    out = command('--help', env=dict(COLUMNS='80'))[1]
    lines = out.partition('Commands:\n')[2].splitlines()
    assert lines and all(l.endswith('.') and not l.endswith('...') for l in lines), out
    page = (Path(__file__).parent.parent/'nbs/cli.ipynb').read_text()
    assert len(lines)==15 and '"Fifteen verbs: ' in page and all(f'`{l.split()[0]}` ' in page.partition('Fifteen verbs')[2].partition('\n')[0] for l in lines)

def test_colours_are_for_terminals_that_want_them(done):
    ask = lambda **env: command('report', done, '--show', 'size', env=env)[1]
    assert '\x1b' not in ask()+ask(NO_COLOR='1')
    wide = {len(line) for line in ask(COLUMNS='60').splitlines()}
    assert max(wide)<=60


# export

def test_export_writes_c_and_proves_it(here, done, tmp_path):
    if shutil.which('gcc') is None: pytest.skip('no gcc (apt-get install gcc)')
    before = sorted(p.name for p in done.iterdir())
    code,out,err = here('export', done, '--to', 'c', '--out', tmp_path/'c', '--json')
    said = json.loads(out)
    assert code==0 and err=='' and said['proved'] and {*said['mismatches'].values()}=={0} and said['samples']==1000 and said['spikes']==1000*10*26
    assert said=={'folder':str(tmp_path/'c')} | json.loads((tmp_path/'c/proof.json').read_text())
    assert said['files']=={f:hashlib.sha256((tmp_path/'c'/f).read_bytes()).hexdigest() for f in ('main.c','net.c','net.h')}
    assert sorted(p.name for p in done.iterdir())==before # a run stays as it was sealed

def test_export_without_a_proof(here, done, tmp_path, monkeypatch):
    "Not asked for: said in the file. Asked for, and not possible: exit code 1, and the package that is missing"
    code,out,_ = here('export', done, '--to', 'c', '--out', tmp_path/'c', '--no-proof')
    assert code==0 and 'no proof: not run (--no-proof)' in out and json.loads((tmp_path/'c/proof.json').read_text())['proved'] is False
    monkeypatch.setenv('PATH', str(tmp_path))
    code,out,_ = here('export', done, '--to', 'c', '--out', tmp_path/'c')
    assert code==1 and 'apt-get install gcc' in out and 'apt-get install gcc' in json.loads((tmp_path/'c/proof.json').read_text())['why']

def test_export_exits_with_1_where_the_c_is_another_network(here, done, tmp_path, monkeypatch):
    if shutil.which('gcc') is None: pytest.skip('no gcc (apt-get install gcc)')
    from quarantion import export
    real,x = export.to_c,load_digits().x_test.numpy()
    fires = int(load(done/'integer.safetensors').record(x)[0].spk.sum((0,1)).argmax()) # one too many is no matter to a neuron that is silent
    def wrong(net, **how):
        l = net.layers[0]
        return real(replace(net, layers=(replace(l, theta=l.theta+np.eye(len(l.theta), dtype=np.int32)[fires]), *net.layers[1:])), **how)
    monkeypatch.setattr(export, 'to_c', wrong)
    code,out,_ = here('export', done, '--to', 'c', '--out', tmp_path/'c')
    said = json.loads((tmp_path/'c/proof.json').read_text())
    assert code==1 and 'samples differ, first at sample' in out and not said['proved'] and (said['first']['layer'],said['first']['neuron'])==(0,fires)

def test_export_writes_events_and_proves_them(here, done, tmp_path):
    pytest.importorskip('nir')
    from quarantion.export import from_events
    code,out,err = here('export', done, '--to', 'events', '--out', tmp_path/'e', '--json')
    said = json.loads(out)
    assert code==0 and err=='' and said['proved'] and {*said['mismatches'].values()}=={0} and said['samples']==1000
    assert set(said['files'])=={'net.json','net.npz','net.csv','net-raster.npz','net-nir.h5'} and said['fired']==sum(int(s.sum()) for s in from_events(tmp_path/'e/net.json', 'nir'))
    code,out,_ = here('export', done/'integer.safetensors', '--to', 'events', '--out', tmp_path/'f', '--no-proof')
    assert code==0 and 'not run (--no-proof)' in out and len([*(tmp_path/'f').iterdir()])==6

def test_export_writes_javascript_and_proves_it(here, done, tmp_path, monkeypatch):
    "Where node is missing there is no proof; where clang is, there is no module"
    missing = [f'no {n}' for n in ('clang','wasm-ld','node') if shutil.which(n) is None]
    if missing: pytest.skip(f'{", ".join(missing)} (apt-get install clang lld nodejs)')
    code,out,err = here('export', done, '--to', 'js', '--out', tmp_path/'js', '--json')
    said = json.loads(out)
    assert code==0 and err=='' and said['proved'] and said['mismatches']=={'node':0} and said['samples']==1000 and said['spikes']==1000*10*26
    assert said=={'folder':str(tmp_path/'js')} | json.loads((tmp_path/'js/proof.json').read_text()) and said['target']=='js'
    assert said['files']=={f:hashlib.sha256((tmp_path/'js'/f).read_bytes()).hexdigest() for f in ('net.d.mts','net.mjs')}
    code,out,_ = here('export', done, '--to', 'js', '--out', tmp_path/'js', '--no-proof')
    assert code==0 and 'no proof: not run (--no-proof)' in out
    for name in 'clang','wasm-ld': (tmp_path/name).symlink_to(shutil.which(name))
    monkeypatch.setenv('PATH', str(tmp_path))
    code,out,_ = here('export', done, '--to', 'js', '--out', tmp_path/'js')
    assert code==1 and 'apt-get install nodejs' in out and 'apt-get install nodejs' in json.loads((tmp_path/'js/proof.json').read_text())['why']
    (tmp_path/'wasm-ld').unlink()
    refused(here('export', done, '--to', 'js', '--out', tmp_path/'other'), 'wasm-ld', 'apt-get install lld')
    assert not (tmp_path/'other').exists()

@pytest.mark.skipif(not (shutil.which('arm-none-eabi-gcc') and shutil.which('qemu-system-arm')), reason='no arm-none-eabi-gcc, or no qemu-system-arm')
def test_export_to_a_board(here, done, tmp_path, monkeypatch):
    "Two more files, and what the board takes; where its tools are missing, the C is proved all the same"
    code,out,err = here('export', done, '--to', 'c', '--out', tmp_path/'c', '--sparse', '--crc', '--board', 'cortex-m0plus', '--json')
    said = json.loads(out)
    board = said['board']
    assert code==0 and said['proved'] and board['proved'] and board['samples']==100 and board['mismatches']=={'microbit':0} and board['instructions']>1000
    assert 'cortex-m0plus: flash' in err and {'cortex_m.c','cortex_m.ld'}<={p.name for p in (tmp_path/'c').iterdir()}
    assert 'net_crc' in (tmp_path/'c/net.h').read_text() and 'net_add_positions' in (tmp_path/'c/net.c').read_text()
    code,out,err = here('export', done, '--to', 'c', '--out', tmp_path/'d', '--board', 'cortex-m4', '--no-proof')
    assert code==0 and 'cortex-m4: flash' in err and 'not run (--no-proof)' in err
    real = shutil.which
    monkeypatch.setattr(shutil, 'which', lambda name, **kw: None if name=='qemu-system-arm' else real(name, **kw))
    code,out,err = here('export', done, '--to', 'c', '--out', tmp_path/'e', '--board', 'cortex-m4')
    said = json.loads((tmp_path/'e/proof.json').read_text())
    assert code==1 and said['proved'] and not said['board']['proved'] and 'apt-get install qemu-system-arm' in said['board']['why'] and 'no proof' in err

def test_an_export_that_died_says_so(here, done, tmp_path, monkeypatch):
    "New files, and not the proof of older ones beside them; the next export goes on from there"
    from quarantion import export
    words = 'export', done, '--to', 'c', '--out', tmp_path/'c'
    assert here(*words, '--no-proof')[0]==0
    def dies(*a, **kw): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(export, 'prove_c', dies)
        assert here(*words)[0]==130
    said = json.loads((tmp_path/'c/proof.json').read_text())
    assert not said['proved'] and said['why']=='begun, and not ended' and 'input' not in said
    assert here(*words, '--no-proof')[0]==0

def test_export_touches_no_file_that_is_not_its_own(here, done, tmp_path):
    "One of that name is refused, and all stay as they were; what an export wrote is replaced"
    (tmp_path/'main.c').write_text('mine')
    refused(here('export', done, '--to', 'c', '--out', tmp_path, '--no-proof'), 'main.c', 'one that an export wrote')
    assert [p.name for p in tmp_path.iterdir()]==['main.c'] and (tmp_path/'main.c').read_text()=='mine'
    for _ in range(2): assert here('export', done, '--to', 'c', '--out', tmp_path/'c', '--no-proof')[0]==0
    (tmp_path/'c/net.h').write_text('changed')
    refused(here('export', done, '--to', 'c', '--out', tmp_path/'c', '--no-proof'), 'net.h', 'nobody changed')

@pytest.mark.skipif(shutil.which('node') is None, reason='no node (apt-get install nodejs)')
def test_export_for_a_page(here, done, tmp_path):
    "The program, and what reads it in a browser; of a run, or of a file alone, which is proved on random codes"
    code,out,_ = here('export', done, '--to', 'wasm', '--out', tmp_path/'w', '--json')
    said = json.loads(out)
    assert code==0 and said['proved'] and said['input']=='samples of its data set' and {*said['files']}=={'net.safetensors','runtime.mjs','runtime.d.mts'}
    assert {p.name for p in (tmp_path/'w').iterdir()}=={*said['files'],'proof.json'}
    code,out,_ = here('export', tmp_path/'w/net.safetensors', '--to', 'wasm', '--out', tmp_path/'x', '--json')
    said = json.loads(out)
    assert code==0 and said['proved'] and said['input']=='random codes' and said['samples']==1000 and said['run']=='net'
def test_a_program_that_is_not_the_one_that_was_sealed_speaks_for_no_run(here, done, copy, tmp_path):
    "A whole file of another network in its place"
    net = load(copy/'integer.safetensors')
    replace(net, layers=(*net.layers[:-1], replace(net.layers[-1], theta=net.layers[-1].theta+1))).save(copy/'integer.safetensors')
    np.save(tmp_path/'x.npy', load_digits().x_test.numpy()[:2])
    for words in (('export', copy, '--to', 'c', '--no-proof', '--out', tmp_path/'c'), ('infer', copy, '--input', tmp_path/'x.npy'), ('report', copy, '--show', 'size'), ('report', copy, '--show', 'cost')):
        refused(here(*words), 'integer.safetensors', 'the file that was sealed')
    assert not (tmp_path/'c').exists()

def test_an_export_stays_outside_of_runs(here, done, copy):
    "A file more would break the seal"
    for folder in (copy, copy/'c', copy/'figures/..'): refused(here('export', copy, '--to', 'c', '--no-proof', '--out', folder), '--out', 'outside of runs')
    assert here('verify', copy)[0]==0

@pytest.mark.skipif(shutil.which('arm-none-eabi-gcc') is None, reason='no arm-none-eabi-gcc')
def test_what_is_in_the_way_of_the_files_of_a_board_is_refused(here, done, tmp_path):
    "A folder of that name, and a link that leads out of the folder"
    (tmp_path/'c/cortex_m.c').mkdir(parents=True)
    refused(here('export', done, '--to', 'c', '--no-proof', '--board', 'cortex-m3', '--out', tmp_path/'c'), 'cortex_m.c', 'found a folder')
    (tmp_path/'c/cortex_m.c').rmdir()
    (tmp_path/'c/cortex_m.c').symlink_to(tmp_path/'elsewhere')
    refused(here('export', done, '--to', 'c', '--no-proof', '--board', 'cortex-m3', '--out', tmp_path/'c'), 'cortex_m.c', 'found a link')
    assert not (tmp_path/'elsewhere').exists()

def test_export_refuses(here, done, begun, tmp_path):
    refused(here('export', done, '--to', 'cobol'), '--to', 'one of c, js, onnx, hub, events, wasm, nir, nir-soft, onnx-unrolled')
    refused(here('export', done, '--to', 'js', '--crc'), '--crc', 'expected c, found js')
    refused(here('export', done, '--to', 'js', '--board', 'cortex-m3'), '--board', 'expected c, found js')
    refused(here('export', done, '--to', 'c', '--board', 'z80'), '--board', 'cortex-m0plus')
    refused(here('export', tmp_path/'nowhere', '--to', 'c'), 'nowhere')
    refused(here('export', begun, '--to', 'c'), 'a finished run', f'go on with: quarantion run --resume {begun}')
    assert here('export', done)[0]==2
