"Programs as graphs of NIR: the same spikes in three simulators, the same program again, and nothing believed that a file says."
import tempfile
from dataclasses import replace

import numpy as np
import pytest

import networks
from networks import pick
from quarantion.checks import CheckError
from quarantion.export import from_nir, prove_nir, to_nir
from quarantion.export.graphs import NirRun
from quarantion.export.parts import graph as graphs
from quarantion.export.parts.graph import read_nir
from quarantion.export.parts.simulators import SIMULATORS, simulator_version
from quarantion.runtime.layer import ONE, IntLayer, Op
from quarantion.runtime.network import IntegerNetwork

pytest.importorskip('h5py', reason='no h5py (pip install h5py)')
pytestmark = pytest.mark.filterwarnings('ignore') # what other simulators say
HERE = tuple(t for t in SIMULATORS if simulator_version(t))
TOP = dict(int8=127, int4=7, nonary=4, ternary=1)


def together(pieces):
    "What a process of its own would give, in this one"
    out = {}
    for name,a in pieces: out.setdefault(name, []).append(a)
    return {k:v[0] if not v[0].ndim else np.concatenate(v) for k,v in out.items()}


@pytest.fixture
def quick(monkeypatch):
    "Files that we wrote are read in this process"
    from quarantion.data import hdf5
    monkeypatch.setattr(graphs, 'read_hdf5', lambda path, room: together(hdf5._read(str(path), None, room)))


def written(file):
    with tempfile.TemporaryDirectory() as d:
        file.save(d)
        return from_nir(f'{d}/{file.name}.nir')


def plain(net, profile):
    "Without what NIR has no nodes for"
    none = dict(current_max=0, m0=np.empty(0, np.int32), shift=np.empty(0, np.int32), clip=0, levels=np.empty(0, np.int32), before_fire=False)
    ops = lambda some: tuple(replace(o, kind='sum') if o.kind=='max' else o for o in some)
    def one(l):
        l = replace(l, before=ops(l.before), after=ops(l.after), **none)
        if l.reset=='none': return replace(l, recurrent=np.empty(0, np.int8), recurrent_conv=())
        return replace(l, reset='zero') if profile=='portable' else l
    return replace(net, layers=tuple(map(one, net.layers)))


def random_files(seed):
    "Random programs that NIR has nodes for, as files"
    rng = np.random.default_rng(seed)
    while True:
        profile = pick(rng, 'portable', 'exact-soft')
        try:
            net = plain(networks.network(rng), profile)
            yield rng, net, to_nir(net, profile=profile)
        except CheckError: pass


def round_trips(seed, n):
    kinds = set()
    for k,(rng,net,file) in zip(range(n), random_files(seed)):
        assert written(file).digest==net.digest
        kinds |= {v.kind for v in file.graph.nodes.values()}
        if k%5: continue
        proof = prove_nir(net, file, (networks.sample(rng, net, 2)*net.in_scale).astype(float), ())
        assert proof.proved or not proof.spikes, (net, str(proof))
    return kinds


def test_random_programs_come_back_and_do_the_same(quick):
    assert round_trips(0, 64)=={'Input','Output','Affine','Linear','Scale','Conv1d','Conv2d','AvgPool2d','Flatten','Threshold','LI','LIF','CubaLIF'}


@pytest.mark.soak
def test_many_random_programs_come_back(quick): round_trips(1, 600)


def two_layers(code, beta=.9, recurrent=False, current=False, seed=0):
    "40 inputs, 50 hidden neurons and 10 that fire"
    rng,top = np.random.default_rng(seed),TOP[code]
    def layer(c, j, r):
        full = lambda v: np.full(c, v, np.int32)
        theta = max(2, int(top*np.sqrt(j)*.6))*256
        back = dict(recurrent=rng.integers(-top, top+1, (c,c)).astype(np.int8)) if r else {}
        if current: back['current_leak'] = full(.5*ONE)
        return IntLayer(rng.integers(-top, top+1, (c,j)).astype(np.int8), full(0), full(theta)+rng.integers(-3, 4, c).astype(np.int32), full(beta*ONE),
                        np.full(c, 1/theta), guard=8, reset='zero', quant_max=127, **back)
    return IntegerNetwork((layer(50, 40, recurrent),layer(10, 50, False)), (40,), 100, 1., 0, 1)


def drive(n=200, steps=100, seed=1): return (np.random.default_rng(seed).random((steps,n,40))<.4).astype(float)


@pytest.mark.parametrize('code', TOP)
def test_three_simulators_fire_the_same_million_spikes(code, quick):
    "0 of 1.2 million differ where membranes are real numbers; a rounded leak changes few, and they are counted"
    if len(HERE)<3: pytest.skip('not all of spikingjelly, snntorch and norse')
    net = two_layers(code)
    proof = prove_nir(net, to_nir(net), drive(), HERE)
    assert proof.spikes==1_200_000 and proof.fired>20_000 and not proof.refused
    assert proof.proved and set(proof.mismatches)=={'quarantion',*HERE} and max(proof.apart.values())<1e-5 and not any(proof.ties.values())
    assert proof.rounded<2000 and proof.near<20 # 4 of 4.8 million at most, by chance


@pytest.mark.parametrize('tool', SIMULATORS)
def test_one_of_a_threshold_is_found(tool, quick):
    if tool not in HERE: pytest.skip(f'no {tool}')
    net = two_layers('nonary', beta=1-1/16)
    l = net.layers[1]
    wrong = replace(net, layers=(net.layers[0],replace(l, theta=l.theta+(np.arange(10)==3).astype(np.int32))))
    found = prove_nir(net, to_nir(wrong), drive(20), (tool,))
    assert found.mismatches[tool] and (found.first['layer'],found.first['neuron'])==(1,3) and not found.proved


@pytest.mark.parametrize('kind', ['recurrent','current','both'])
def test_what_comes_back_and_what_lasts(kind, quick):
    net = two_layers('nonary', recurrent=kind!='current', current=kind!='recurrent')
    proof = prove_nir(net, to_nir(net), drive(50))
    assert proof.proved and proof.fired
    if {'spikingjelly','norse'}<=set(HERE): assert {'spikingjelly','norse'}<=set(proof.mismatches)
    if kind!='current' and 'snntorch' in HERE: assert "'items'" in proof.refused['snntorch'] # its importer does not run its own subgraphs


def test_a_convolution_by_three(quick):
    rng = np.random.default_rng(0)
    full = lambda c,v: np.full(c, v, np.int32)
    conv = IntLayer(rng.integers(-7, 8, (4,1,3,3)).astype(np.int8), full(4, 99), full(4, 9*256), full(4, .9*ONE), np.full(4, 1/9/256), guard=8, reset='zero',
                    quant_max=7, conv=((1,1),(1,1),(1,1),1))
    last = IntLayer(rng.integers(-7, 8, (5,4*4*4)).astype(np.int8), full(5, 0), full(5, 9*1024), full(5, .9*ONE), np.full(5, 1/9/1024), guard=8, reset='none',
                    quant_max=7, before=(Op('sum', (2,2), (2,2)),Op('flatten')))
    net = IntegerNetwork((conv,last), (1,8,8), 20, 1/255, 0, 255)
    proof = prove_nir(net, to_nir(net), rng.integers(0, 256, (50,1,8,8))/255)
    assert proof.proved and set(proof.mismatches)>={'spikingjelly'} or not HERE
    assert written(to_nir(net)).digest==net.digest
    if 'norse' in HERE: assert 'norse' in proof.refused # it has no mean pooling


@pytest.mark.parametrize('change,says', [
    (dict(reset='subtract'), '`reset`: expected a reset to zero'), (dict(reset='subtract_delayed'), '`reset`'), (dict(reset='none'), '`reset`: expected neurons that fire'),
    (dict(clip=9000), '`membrane`: expected exact, found one clipped'), (dict(levels=np.array([0,ONE*2], np.int32)), '`membrane`: expected exact, found one on 2 levels'),
    (dict(current_max=100, m0=np.full(50, 2**30, np.int32), shift=np.full(50, 30, np.int32)), '`current`: expected exact')])
def test_what_has_no_node_is_refused_by_name(change, says):
    net = two_layers('int4')
    with pytest.raises(CheckError, match=f'nir, layer 0: {says}'): to_nir(replace(net, layers=(replace(net.layers[0], **change),net.layers[1])))


def test_a_maximum_and_a_line_are_refused():
    net = two_layers('int4')
    for op,says in (Op('max', (1,2), (1,2)),'a maximum'),(Op('sum', (1,2), (1,2)),'along a line'):
        l = replace(net.layers[0], before=(op,Op('flatten')))
        with pytest.raises(CheckError, match=says): to_nir(IntegerNetwork((l,), (4,20), 5, 1., 0, 1))


def test_another_dt_and_equal_bytes(quick):
    net = two_layers('ternary')
    file = to_nir(net, dt=1e-3, name='other')
    assert written(file).digest==net.digest and prove_nir(net, file, drive(5)).mismatches.get('norse', 0)==0
    assert graphs.nir_bytes(file.graph)==graphs.nir_bytes(to_nir(net, dt=1e-3).graph)
    with pytest.raises(CheckError, match='`dt`: expected > 0'): to_nir(net, dt=0)
    with pytest.raises(CheckError, match='`name`: expected letters'): to_nir(net, name='../net')
    with pytest.raises(CheckError, match='`profile`: expected one of portable'): to_nir(net, profile='soft')


def test_the_soft_reset_by_nirtorch():
    "A map of ten lines is all that another reader needs"
    nir,nirtorch,torch = (pytest.importorskip(m) for m in ('nir','nirtorch','torch'))
    class Leaky(torch.nn.Module):
        def __init__(self, n): super().__init__(); self.share,self.r = (torch.tensor(1e-4/n.tau),torch.tensor(n.r))
        def forward(self, x, state=None):
            v = 0*x if state is None else state
            v = v+self.share*(self.r*x-v)
            return v,v
    class Above(torch.nn.Module):
        def __init__(self, n): super().__init__(); self.top = torch.tensor(n.threshold)
        def forward(self, x): return (x>self.top).double()
    class Times(torch.nn.Module):
        def __init__(self, n): super().__init__(); self.scale = torch.tensor(n.scale)
        def forward(self, x): return x*self.scale
    def linear(n): # the map that comes with nirtorch 2.6 forgets biases
        new = torch.nn.Linear(*n.weight.shape[::-1])
        new.weight.data,new.bias.data = torch.tensor(n.weight),torch.tensor(n.bias)
        return new
    for reset in ('subtract','subtract_delayed'):
        net = two_layers('nonary')
        net = replace(net, layers=tuple(replace(l, reset=reset) for l in net.layers))
        with tempfile.TemporaryDirectory() as d:
            to_nir(net, profile='exact-soft').save(d)
            theirs = nirtorch.nir_to_torch(nir.read(f'{d}/net.nir'), {nir.Affine:linear, nir.LI:Leaky, nir.Threshold:Above, nir.Scale:Times}, dtype=torch.float64)
            x,state,got = drive(20),None,[]
            for now in torch.tensor(x):
                out,state = theirs(now, state)
                got.append(out)
            want = NirRun(read_nir(f'{d}/net.nir'))(x)
        assert want.sum()>50 and (torch.stack(got).detach().numpy()==want).all()


# Files that are not what they say

def files(tmp_path, change):
    "The file of a program with something changed in it"
    h5py = pytest.importorskip('h5py')
    to_nir(two_layers('int4')).save(tmp_path)
    with h5py.File(tmp_path/'net.nir', 'r+') as f: change(f, h5py)
    return tmp_path/'net.nir'


def put(f, name, value):
    if name in f: del f[name]
    f.create_dataset(name, data=value)


def virtual(f, h5py):
    layout = h5py.VirtualLayout((50,), float)
    layout[:] = h5py.VirtualSource('/etc/hostname', 'tau', (50,))
    del f['node/nodes/lif0/tau']
    f.create_virtual_dataset('node/nodes/lif0/tau', layout)


def outside(f, h5py):
    del f['node/nodes/lif0/tau']
    f.create_dataset('node/nodes/lif0/tau', (50,), 'f8', external=[('/etc/passwd', 0, 400)])


def lying(f, h5py):
    del f['node/nodes/fc0/weight']
    f.create_dataset('node/nodes/fc0/weight', (2**30,2**20), 'f4', chunks=(1024,1024), compression='gzip')


def lying_a_little(f, h5py):
    del f['node/nodes/fc0/weight']
    f.create_dataset('node/nodes/fc0/weight', (2**14,2**14), 'f8', chunks=(1024,1024), compression='gzip')


def linked(to):
    def change(f, h5py):
        del f['node/nodes/lif0']
        f['node/nodes/lif0'] = to(h5py)
    return change


def loop(f, h5py): f['node/nodes/lif0/metadata'] = f['node']


def deep(f, h5py):
    at = f['node/nodes']
    for _ in range(12):
        at = at.create_group('again')
        at['type'] = 'NIRGraph'
        at['edges'] = np.zeros((0,2))
        at = at.create_group('nodes')


CHANGES = {
    'external link': (linked(lambda h: h.ExternalLink('/etc/passwd', '/x')),'a link'), 'soft link': (linked(lambda h: h.SoftLink('/node')),'a link'),
    'virtual': (virtual,'a virtual data set'), 'external storage': (outside,'data in another file'), 'a lying shape': (lying,'bytes'),
    'a shape that lies a little': (lying_a_little,'bytes'), 'a loop': (loop,'a group in itself'), 'deep': (deep,'8 deep'),
    'unknown node': (lambda f,h: put(f, 'node/nodes/lif0/type', 'Delay'),"node lif0: `type`: expected one of Input.*found Delay"),
    'no type': (lambda f,h: f['node/nodes/lif0'].pop('type'),'node lif0: `type`.*found nothing'),
    'NaN': (lambda f,h: put(f, 'node/nodes/lif0/tau', np.full(50, np.nan)),'node lif0: `tau`: expected finite numbers, found nan'),
    'no tau': (lambda f,h: f['node/nodes/lif0'].pop('tau'),'node lif0: `tau`: expected a number or an array, as LIF has one, found nothing'),
    'tau is a group': (lambda f,h: (f['node/nodes/lif0'].pop('tau'), f.create_dataset('node/nodes/lif0/tau/x', data=1)),'node lif0: `tau`'),
    'words': (lambda f,h: put(f, 'node/nodes/lif0/tau', 'long'),'node lif0: `tau`: expected numbers, found long'),
    'complex': (lambda f,h: put(f, 'node/nodes/lif0/tau', np.ones(50)*1j),'tau'),
    'no edges': (lambda f,h: f['node'].pop('edges'),'`edges`: expected pairs of names, found nothing'),
    'empty edges': (lambda f,h: put(f, 'node/edges', np.zeros((0,2))),'expected an edge that leads to it, found none'),
    'numbers as edges': (lambda f,h: put(f, 'node/edges', np.zeros((3,2))),'`edges`: expected pairs of names'),
    'edges of three': (lambda f,h: put(f, 'node/edges', np.full((3,3), 'a', dtype='S1')),'`edges`: expected pairs of names'),
    'an edge to nothing': (lambda f,h: put(f, 'node/edges', np.array([['input','gone']], 'S5')),'edge input → gone: expected nodes that are there, found gone'),
    'not UTF-8': (lambda f,h: put(f, 'node/edges', np.array([[b'\xff\xfe',b'a']], 'S5')),'one word of UTF-8'),
    'no node': (lambda f,h: f.pop('node'),'`node`: expected a graph of NIR, found nothing'), 'no nodes': (lambda f,h: f['node'].pop('nodes'),'`nodes`'),
    'not a graph': (lambda f,h: put(f, 'node/type', 'LIF'),'`type`: expected NIRGraph, found LIF'),
    'no input': (lambda f,h: f['node/nodes'].pop('input'),'input'), 'no output': (lambda f,h: f['node/nodes'].pop('output'),'output'),
    'half a window': (lambda f,h: put(f, 'node/nodes/input/shape', np.array([.5])),'`shape`: expected whole numbers'),
    'metadata of others': (lambda f,h: f['node'].pop('metadata'),'metadata: expected those of an integer program'),
    'another version': (lambda f,h: put(f, 'node/metadata/quarantion/version', 9),'`version`: expected 1, found 9'),
    'no version': (lambda f,h: f['node/metadata/quarantion'].pop('version'),'`version`'),
    'a header that is none': (lambda f,h: put(f, 'node/metadata/quarantion/header', '{'),'`header`: expected JSON'),
    'a header of lists': (lambda f,h: put(f, 'node/metadata/quarantion/header', '[]'),'`header`: expected an object'),
    'a header of nothing': (lambda f,h: put(f, 'node/metadata/quarantion/header', '{"layers": [{}, {}]}'),'shape'),
    'a deep header': (lambda f,h: put(f, 'node/metadata/quarantion/header', '['*10000),'`header`: expected JSON'),
    'other layers': (lambda f,h: f['node/metadata/quarantion/layers'].pop('1'),'`layers`: expected those of the header'),
    'no dt': (lambda f,h: f['node/metadata/quarantion'].pop('dt'),'`dt`: expected a float, found nothing'),
    'dt of zero': (lambda f,h: put(f, 'node/metadata/quarantion/dt', 0.),'`dt`: expected > 0'),
    'another profile': (lambda f,h: put(f, 'node/metadata/quarantion/profile', 'soft'),'`profile`: expected one of'),
    'a code': (lambda f,h: f['node/metadata/quarantion/layers/0/weight'].__setitem__((0,0), 3 if f['node/metadata/quarantion/layers/0/weight'][0,0]!=3 else 2),
               r'node fc0, `weight`: expected the number that its metadata say at \[0, 0\], found another'),
    'a code that cannot be': (lambda f,h: put(f, 'node/metadata/quarantion/layers/0/theta', np.zeros(50, np.int32)),'theta'),
    'a unit': (lambda f,h: f['node/metadata/quarantion/layers/0/unit'].__setitem__(0, .125),'seal: expected .*, that of its numbers'),
    'no seal': (lambda f,h: f['node/metadata/quarantion'].pop('seal'),'`seal`: expected a str, found nothing'),
    'a layer of words': (lambda f,h: put(f, 'node/metadata/quarantion/layers/0/weight', 'w'),'layer 0: metadata: expected arrays'),
    'a threshold': (lambda f,h: f['node/nodes/lif0/v_threshold'].__setitem__(3, 2.), r'node lif0, `v_threshold`: expected the number that its metadata say at \[3\]'),
    'another shape': (lambda f,h: put(f, 'node/nodes/lif0/r', 1.),'node lif0, `r`: expected the number that its metadata say, found another'),
}


@pytest.mark.parametrize('what', ['external link','virtual','external storage','a lying shape','a loop'])
def test_a_file_that_leads_elsewhere_is_refused_apart(what, tmp_path):
    change,says = CHANGES[what]
    path = files(tmp_path, change)
    with pytest.raises(CheckError, match=says) as e: from_nir(path)
    assert str(path) in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize('what', CHANGES)
def test_a_file_that_is_not_what_it_says_is_refused(what, tmp_path, quick):
    change,says = CHANGES[what]
    path = files(tmp_path, change)
    with pytest.raises(CheckError, match=says) as e: from_nir(path)
    assert str(path) in str(e.value) and '\n' not in str(e.value)


def test_no_file_at_all(tmp_path):
    for name,data in ('empty',b''),('text',b'not HDF5'),('head',b'\x89HDF\r\n\x1a\n'):
        (tmp_path/name).write_bytes(data)
        with pytest.raises(CheckError, match=name): read_nir(tmp_path/name)
    for path in (tmp_path,tmp_path/'none',None,'a\0b'):
        with pytest.raises(CheckError): read_nir(path)


def flipped(tmp_path, seeds):
    "Bytes that flip: a `CheckError` of one line, or the same program"
    net = two_layers('ternary')
    to_nir(net).save(tmp_path)
    data,refused = (tmp_path/'net.nir').read_bytes(),0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        bad = bytearray(data)
        for _ in range(int(rng.integers(1, 9))): bad[int(rng.integers(len(bad)))] ^= 1<<int(rng.integers(8))
        if rng.random()<.2: bad = bad[:int(rng.integers(len(bad)))]
        (tmp_path/'bad.nir').write_bytes(bad)
        try: assert from_nir(tmp_path/'bad.nir').digest==net.digest
        except CheckError as e: refused += '\n' not in str(e)
    return refused


def test_bytes_that_flip(tmp_path): assert flipped(tmp_path, range(5))


@pytest.mark.soak
def test_many_bytes_that_flip(tmp_path): assert flipped(tmp_path, range(100, 400))


def mutated(rng, pieces):
    "Other numbers, shapes, words and names in some places"
    out = dict(pieces)
    for _ in range(int(rng.integers(1, 4))):
        k = list(out)[int(rng.integers(len(out)))]
        a,what = out[k],int(rng.integers(8))
        if what==0: del out[k]
        elif what==1: out[k] = np.array([[b'x',b'lif0']], 'S5')
        elif what==2: out[k] = rng.choice([0, -1, 1e300, np.inf, np.nan, 2**40, .5, 3], size=a.shape).astype(rng.choice(['f8','f4']))
        elif what==3: out[k] = np.zeros(tuple(rng.integers(0, 4, int(rng.integers(0, 5)))), rng.choice(['f8','i4','u1','?']))
        elif what==4: out[k] = np.array(rng.choice(['LIF','IF','I','LI','CubaLIF','Affine','Linear','Scale','Conv1d','Conv2d','SumPool2d','AvgPool2d','Flatten','Threshold','NIRGraph','Input','Output','','same']).encode())
        elif what==5: out[f'{k}/inner'] = a
        elif what==6: out[k.replace('0', '1', 1)] = out.pop(k)
        else: out[k] = a.reshape(-1)[:1] if a.size else a
    return out


def mutations(monkeypatch, tmp_path, n, seed):
    "Whatever is in a file: a `CheckError` of one line, or a graph that runs"
    from quarantion.data import hdf5
    from quarantion.export import network_from_nir
    seeds,(rng,done) = [],(np.random.default_rng(seed),[0,0])
    for _,(_,net,file) in zip(range(12), random_files(seed)):
        file.save(tmp_path)
        seeds.append(together(hdf5._read(str(tmp_path/'net.nir'), None, 2**30)))
    with np.errstate(all='ignore'):
        for _ in range(n):
            pieces = mutated(rng, pick(rng, *seeds))
            def fake(path, room, pieces=pieces):
                if any('/'.join(k.split('/')[:i]) in pieces for k in pieces for i in range(1, k.count('/')+1)): raise CheckError('a data set is no group')
                return pieces
            monkeypatch.setattr(graphs, 'read_hdf5', fake)
            for read in (from_nir, lambda p: NirRun(read_nir(p))(np.ones((2,1,*NirRun(read_nir(p)).in_shape))), lambda p: network_from_nir(p, 'snntorch')):
                try:
                    read(tmp_path/'net.nir')
                    done[0] += 1
                except CheckError as e:
                    assert '\n' not in str(e)
                    done[1] += 1
    return done


def test_whatever_is_in_a_file(monkeypatch, tmp_path):
    ran,refused = mutations(monkeypatch, tmp_path, 120, 0)
    assert ran>10 and refused>100


@pytest.mark.soak
def test_whatever_is_in_many_files(monkeypatch, tmp_path): mutations(monkeypatch, tmp_path, 6000, 1)


# The command

def test_the_command_writes_proves_and_says(tmp_path, monkeypatch, capsys):
    "The first in a process of its own, where simulators are imported; the others here, where they were"
    import json
    import subprocess
    import sys
    from quarantion.cli import main
    net = replace(two_layers('ternary'), steps=10)
    net.save(tmp_path/'net.safetensors')
    soft = replace(net, layers=tuple(replace(l, reset='subtract') for l in net.layers))
    soft.save(tmp_path/'soft.safetensors')
    def export(*args): return subprocess.run([sys.executable, '-m', 'quarantion.cli', 'export', *args, '--json'], cwd=tmp_path, capture_output=True, text=True)
    said = json.loads(export('net.safetensors', '--to', 'nir').stdout)
    assert said['proved'] and said['target']=='nir' and set(said['mismatches'])=={'quarantion',*HERE} and said==json.loads((tmp_path/'net-nir/proof.json').read_text())|dict(folder='net-nir')
    assert from_nir(tmp_path/'net-nir/net.nir').digest==net.digest
    monkeypatch.chdir(tmp_path)
    def here(to):
        with pytest.raises(SystemExit) as e: main(['export', 'soft.safetensors', '--to', to, '--json'])
        return e.value.code,*capsys.readouterr()
    code,_,err = here('nir')
    assert code==2 and '--reset zero' in err and not (tmp_path/'soft-nir').exists()
    code,out,_ = here('nir-soft')
    assert not code and json.loads(out)['proved']


def test_what_the_page_shows():
    import json
    from pathlib import Path
    found = json.loads((Path(__file__).parents[1]/'nbs/measured/nir.json').read_text())
    assert sum(r['spikes'] for r in found['codes'])>=4_000_000
    assert not any(n for r in found['codes'] for by in r['spikes_differing'].values() for n in by.values())
    assert all(r['by']['quarantion']=='same' for r in found['kinds'])
