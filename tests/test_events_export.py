"Spikes as events: lossless in every format, read by other tools, and files that are not what they say"
import csv, io, json, tracemalloc
from dataclasses import replace

import numpy as np, pytest, torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import nn

import networks
from quarantion.checks import CheckError
from quarantion.data.addresses import Cores, events_to_spikes, spikes_to_events
from quarantion.data.digits import load_digits
from quarantion.data.event_files import read_csv, read_npz
from quarantion.data.event_writers import events_csv, events_npz
from quarantion.export.events import _WRITE, FORMATS, EventFiles, EventsHead, from_events, prove_events, read_raster, to_events
from quarantion.export.nir_events import to_nir_events, read_nir_events, steps_of
from quarantion.quant.lowering import lower
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF

CAPS = dict(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROWS = ('npz','csv','raster')

def drawn(seed):
    "Layers, and what is to be known of them; silent, full and single ones among them"
    rng = np.random.default_rng(seed)
    steps,batch = (int(n) for n in rng.integers(1, 9, 2))
    shapes = tuple(tuple(int(n) for n in rng.integers(1, 9, rng.integers(1, 4))) for _ in range(rng.integers(1, 4)))
    rate = rng.choice([0,.05,.5,1])
    spk = [(rng.random((steps,batch,*s))<rate).astype(np.uint8) for s in shapes]
    how = dict(step_us=int(rng.choice([1,2,999,1000,10**6])), core=int(rng.choice([3,64,256])), cores=int(rng.choice([2,64,128])))
    return spk,EventsHead(shapes, batch, steps, **how)

@given(st.integers(0, 2**31))
@settings(max_examples=150, **CAPS)
def test_nothing_is_lost(tmp_path_factory, seed):
    spk,head = drawn(seed)
    try: head.where.shape
    except CheckError as e: assert '256' in str(e); return
    folder = tmp_path_factory.mktemp('e')
    EventFiles('net', head, {k:_WRITE[k](spk, head) for k in ROWS}).save(folder)
    for form in ROWS:
        for a,b in zip(spk, from_events(folder/'net.json', form), strict=True): assert a.shape==b.shape and (a==b).all(), form

@pytest.mark.parametrize('n', [6, pytest.param(200, marks=pytest.mark.soak)])
def test_nothing_is_lost_in_nir(n, tmp_path):
    nir = pytest.importorskip('nir')
    for seed in range(n):
        spk,head = drawn(seed)
        dt = head.step_us*1e-6
        (tmp_path/'a.h5').write_bytes(to_nir_events({f'l{i}':s for i,s in enumerate(spk)}, dt))
        ours,theirs = read_nir_events(tmp_path/'a.h5'),nir.read_data(str(tmp_path/'a.h5')).nodes
        for i,s in enumerate(spk):
            flat = s.reshape(*s.shape[:2], -1)
            assert (steps_of(ours[f'l{i}'], dt)==flat).all(), seed
            assert (theirs[f'l{i}'].observables['spikes'].to_time_gridded(dt).data.swapaxes(0, 1)==flat).all(), seed

@pytest.mark.parametrize('n', [12, pytest.param(300, marks=pytest.mark.soak)])
def test_random_networks_of_every_kind(n):
    for seed in range(n):
        rng = np.random.default_rng(seed)
        net = networks.network(rng)
        x = networks.sample(rng, net, 5)
        f = to_events(net, x, formats=ROWS)
        proof = prove_events(net, f, x)
        assert not any(proof.mismatches.values()), (seed, str(proof))


@pytest.fixture(scope='module')
def program():
    torch.manual_seed(0)
    d = load_digits()
    net = Network(nn.Linear(64, 32), LIF(), nn.Linear(32, 10), LIF(), in_shape=(64,), steps=12)
    return lower(prepare(net, preset('nonary'), d.x_train[:256]).freeze()),torch.cat([d.x_test, d.x_train[:640]]).numpy()

def test_a_thousand_samples_and_mutations(program):
    pytest.importorskip('nir')
    prog,x = program
    f = to_events(prog, x)
    proof = prove_events(prog, f, x)
    assert proof.proved and proof.samples==1000 and set(proof.mismatches)=={*ROWS,'nir','nir itself'} and 'membranes' not in str(proof)
    theta = prog.layers[0].theta.copy()
    theta[3] += theta[3]//20 # one unit would change membranes, which events do not have, and no spike of these
    other = replace(prog, layers=(replace(prog.layers[0], theta=theta),*prog.layers[1:]))
    proof = prove_events(other, f, x)
    assert not proof.proved and all(proof.mismatches.values()) and (proof.first['layer'],proof.first['neuron'])==(0,3)
    raster = dict(np.load(io.BytesIO(f.data['raster'])))
    raster['layer1'][999,9,11] ^= True
    out = io.BytesIO(); np.savez(out, **raster)
    proof = prove_events(prog, replace(f, data=dict(raster=out.getvalue())), x)
    assert proof.mismatches==dict(raster=1) and proof.first|dict(expected=0, found=0)==dict(sample=999, step=11, layer=1, neuron=9, expected=0, found=0)

def test_other_tools_read_the_files(program, tmp_path):
    "tonic makes frames of the addresses, Python's csv the same rows, numpy the rasters"
    from tonic.transforms import ToFrame
    prog,x = program[0],program[1][:20]
    f = to_events(prog, x, formats=ROWS)
    f.save(tmp_path)
    spk = np.concatenate([r.spk.reshape(*r.spk.shape[:2], -1) for r in prog.record(x)], 2) # [T, B, N]
    e = np.load(tmp_path/'net.npz')
    chips,cores,core = f.head.where.shape
    xytp = np.array([*zip(e['x'], e['y'], e['t'], e['p'])], [('x','<i4'),('y','<i4'),('t','<i8'),('p','<i4')])
    frames = ToFrame((core,cores,chips), time_window=1000, start_time=0, end_time=20*12*1000)(xytp) # by itself, tonic 1.7.0 loses the last step
    grid = frames.reshape(spk.shape[1], spk.shape[0], chips*cores, core).swapaxes(0, 1)
    assert (grid[:,:,0,:32]==spk[:,:,:32]).all() and (grid[:,:,1,:10]==spk[:,:,32:]).all() and grid.sum(dtype=int)==spk.sum(dtype=int)
    with open(tmp_path/'net.csv', newline='') as g: rows = [[int(r[k]) for k in 'txyp'] for r in csv.DictReader(g)]
    assert rows==[[int(e[k][i]) for k in 'txyp'] for i in range(len(e['t']))]
    raster = np.load(tmp_path/'net-raster.npz')
    assert (np.concatenate([raster['layer0'],raster['layer1']], 1)==spk.transpose(1, 2, 0)).all()

def test_no_spike_at_all(program, tmp_path):
    prog,x = program[0],0*program[1][:3]
    f = to_events(prog, x, formats=ROWS)
    f.save(tmp_path)
    silent = [r.spk for r in prog.record(x)]
    if not sum(int(s.sum()) for s in silent): assert f.files['net.csv']==b't,x,y,p\n'
    for form in ROWS:
        for a,b in zip(silent, from_events(tmp_path/'net.json', form), strict=True): assert (a==b).all()


# Files

@pytest.fixture
def files(program, tmp_path):
    f = to_events(program[0], program[1][:5], formats=ROWS)
    f.save(tmp_path)
    return f,tmp_path

def refused(folder, form):
    with pytest.raises(CheckError) as e: from_events(folder/'net.json', form)
    assert '\n' not in str(e.value) and len(str(e.value))<700 and str(e.value).startswith(str(folder))
    return str(e.value)

@pytest.mark.parametrize('cell', ['=1+1','+5','-5','-0','-00','@SUM(A1)','=cmd|/C calc','"5"','5.0','٣','1e3',''])
def test_cells_that_are_no_numbers(files, cell):
    f,folder = files
    lines = f.data['csv'].decode().splitlines(keepends=True)
    for k in range(4):
        row = lines[3].strip().split(',')
        row[k] = cell
        (folder/'net.csv').write_text(''.join([*lines[:3],','.join(row)+'\n',*lines[4:]]))
        assert 'line 4' in refused(folder, 'csv')

def test_what_a_file_of_events_must_not_be(files):
    f,folder = files
    e = read_npz(folder/'net.npz', f.head.where.shape)
    def put(e):
        (folder/'net.npz').write_bytes(events_npz(e)), (folder/'net.csv').write_bytes(events_csv(e))
        return refused(folder, 'npz'),refused(folder, 'csv')
    def changed(k, v, i=3):
        new = e.copy(); new[k][i] = v
        return put(new)
    assert all('event before it' in s for s in changed('t', 0, -1))
    assert all('expected 0 to' in s for k in 'xyp' for s in changed(k, 255 if k=='p' else 65535))
    assert all('one that a neuron has' in s for s in changed('x', 200))
    assert all('ends' in s for s in changed('t', 10**9, -1))
    assert all('at most one of a neuron' in s for s in put(e[np.sort(np.append(np.arange(len(e)), 5))]))
    for form,data in (('npz',b''), ('csv',b''), ('raster',b''), ('csv',b'x,y\n'), ('raster',f.data['npz'])):
        name = {'raster':'net-raster.npz'}.get(form, f'net.{form}')
        (folder/name).write_bytes(data)
        refused(folder, form)
    (folder/'net.npz').unlink()
    assert 'file' in refused(folder, 'npz')

@pytest.mark.parametrize('k,v', [('samples',-1), ('samples',10**9), ('samples',1.5), ('steps',0), ('steps',True), ('step_us','1'), ('core',0), ('core',2), ('cores',10**6), ('shapes',[]), ('shapes',[[2**31]]),
    ('shapes',[[0]]), ('shapes',[[2**30,2**30]]), ('shapes','x'), ('shapes',[[32]]), ('title',3), ('version',2), ('format','x')])
def test_lying_heads(files, k, v):
    f,folder = files
    said = json.loads(f.head.json)
    (folder/'net.json').write_text(json.dumps(said|{k:v}))
    for form in ROWS:
        if (k,v,form)!=('core',2,'raster'): refused(folder, form)

def test_text_of_a_title_stays_text(program):
    f = to_events(program[0], program[1][:2], title='=1+1\n"</script>', formats=('csv',))
    assert json.loads(f.head.json)['title']=='=1+1\n"</script>' and all(l[:1] in b't0123456789' for l in f.data['csv'].splitlines())


def peak(read, *a):
    tracemalloc.start()
    try:
        try: read(*a)
        except CheckError as e: assert str(e)
        return tracemalloc.get_traced_memory()[1]
    finally: tracemalloc.stop()

WHOLE = {}

@pytest.mark.parametrize('form', ['npz','csv','raster','json'])
@given(st.data())
@settings(max_examples=80, **CAPS)
def test_bytes_that_are_nearly_a_file(tmp_path, form, data):
    if not WHOLE:
        spk,head = drawn(5)
        WHOLE.update(EventFiles('net', head, {k:_WRITE[k](spk, head) for k in ROWS}).files, head=head)
    head,name = WHOLE['head'],{'raster':'net-raster.npz'}.get(form, f'net.{form}')
    b = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(0, 4))): b[data.draw(st.integers(0, len(b)-1))] = data.draw(st.integers(0, 255))
    b = bytes(b[:data.draw(st.integers(0, len(b)))]) if data.draw(st.booleans()) else bytes(b)
    for k in ('net.npz','net-raster.npz','net.json'): (tmp_path/k).write_bytes(WHOLE[k])
    (tmp_path/name).write_bytes(b)
    read = dict(npz=lambda p: read_npz(p, head.where.shape, empty=True), csv=lambda p: read_csv(p, head.where.shape, empty=True), raster=read_raster)
    if form in read: assert peak(read[form], tmp_path/name)<=4*len(b)+400_000
    try: from_events(tmp_path/'net.json', 'npz' if form=='json' else form)
    except CheckError as e: assert str(e) and '\n' not in str(e)

@pytest.mark.parametrize('form', ['npz','raster'])
def test_archives_that_point_before_their_beginning(tmp_path, form):
    spk,head = drawn(5)
    for k,v in EventFiles('net', head, {k:_WRITE[k](spk, head) for k in ROWS}).files.items(): (tmp_path/k).write_bytes(v)
    p = tmp_path/('net'+FORMATS[form])
    data = p.read_bytes()
    at = data.rindex(b'PK\x05\x06')+16 # where the directory begins, by its end
    for place in (int.from_bytes(data[at:at+4], 'little')+47, 2**31, 0):
        p.write_bytes(data[:at]+place.to_bytes(4, 'little')+data[at+4:])
        with pytest.raises(CheckError, match=p.name): from_events(tmp_path/'net.json', form)

def test_memory_of_large_files(tmp_path):
    rng = np.random.default_rng(0)
    spk = [rng.random((50,40,500))<.2]
    head = EventsHead(((500,),), 40, 50)
    f = EventFiles('net', head, {k:_WRITE[k](spk, head) for k in ROWS})
    f.save(tmp_path)
    for form,read in dict(npz=read_npz, csv=read_csv).items():
        p = tmp_path/f'net.{form}'
        assert peak(read, p, head.where.shape)<=4*p.stat().st_size+400_000, form
    p = tmp_path/'net-raster.npz'
    assert peak(read_raster, p)<=4*p.stat().st_size+400_000

@pytest.mark.parametrize('change', ['cut','bytes','empty','nan','neuron','nothing','link','two'])
def test_nir_files_that_are_not_what_they_say(tmp_path, change):
    pytest.importorskip('nir')
    import h5py
    p,rng = tmp_path/'a.h5',np.random.default_rng(0)
    data = to_nir_events(dict(a=rng.random((9,2,5))<.3))
    p.write_bytes(dict(cut=data[:-100], bytes=data[:2000]+rng.bytes(500)+data[2500:], empty=b'').get(change, data))
    if change in ('nan','neuron','nothing','link','two'):
        with h5py.File(p, 'a') as f:
            g = f['nodes/a/observables/spikes']
            if change=='nan': g['time'][0,0] = np.nan
            if change=='neuron': g['idx'][0,0] = 5
            if change=='nothing': del g['idx']
            if change=='two': g['idx'][0,:2],g['time'][0,:2] = 1,.0005
            if change=='link': del g['time']; g['time'] = h5py.SoftLink('/nodes')
    with pytest.raises(CheckError, match='a.h5|twice'):
        got = read_nir_events(p)
        if change=='bytes': raise CheckError('a.h5') # such a file may be read, if what changed was of no account
        steps_of(got['a'], 1e-3, 'a.h5')

def test_cores_and_addresses():
    c = Cores((300,10), core=4, cores=64)
    spk = [np.ones((1,1,n), np.uint8) for n in (300,10)]
    e = spikes_to_events(spk, c)
    assert len(set(e[['p','y','x']].tolist()))==310 and e['p'].max()==1 and e['x'].max()==3
    assert [s.sum() for s in events_to_spikes(e, c, 1, 1)]==[300,10]
