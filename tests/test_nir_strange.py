"Graphs of NIR as strangers write them: names with dots, borders by word, what lies, what comes back, readouts, ties"
import warnings

import numpy as np
import pytest
import torch

from quarantion.checks import CheckError
from quarantion.export.graphs import NirRun
from quarantion.export.networks_from_nir import network_from_nir
from quarantion.export.parts.graph import read_nir
from quarantion.export.parts.rules import Rules

h5py = pytest.importorskip('h5py', reason='no h5py (pip install h5py)')
RNG = np.random.default_rng(0)
SLOW = Rules(dt=1e-3)


def put(group, d):
    for k,v in d.items():
        if isinstance(v, dict): put(group.create_group(k), v)
        elif isinstance(v, str): group.create_dataset(k, data=v, dtype=h5py.string_dtype())
        elif k=='edges': group.create_dataset(k, data=np.array(v, object).reshape(-1,2), dtype=h5py.string_dtype())
        else: group.create_dataset(k, data=v)


def graph(nodes, edges): return dict(type='NIRGraph', nodes=nodes, edges=edges)
def border(kind, *shape): return dict(type=kind, shape=np.array(shape))
def affine(m, n, size=1.): return dict(type='Affine', weight=size*RNG.normal(size=(m,n)), bias=.1*RNG.normal(size=m))


def lif(*s, **more):
    said = dict(type='LIF', tau=.01*(1+RNG.random(s)), r=5+5*RNG.random(s), v_leak=np.zeros(s), v_threshold=np.ones(s), v_reset=np.zeros(s))
    return said|more


def li(*s, **more): return dict(type='LI', tau=np.full(s, .02), r=np.ones(s), v_leak=np.zeros(s))|more


def chain(*nodes, shape=(5,), out=(4,)):
    names = ['input',*(f'n{i}' for i in range(len(nodes))),'output']
    return graph(dict(zip(names, (border('Input', *shape),*nodes,border('Output', *out)))), list(zip(names, names[1:])))


@pytest.fixture
def read(tmp_path):
    def made(g):
        with h5py.File(tmp_path/'net.nir', 'w') as f: put(f.create_group('node'), g)
        return read_nir(tmp_path/'net.nir')
    return made


def recurrent(pre=''):
    names = [pre+k for k in ('input','lif','w_rec','output')]
    return graph(dict(zip(names, (border('Input', 4),lif(4),affine(4, 4),border('Output', 4)))),
                 [(names[0],names[1]),(names[1],names[2]),(names[2],names[1]),(names[1],names[3])])


def by_hand(g, x):
    "Affine, and neurons whose spikes come back a step later, one number after the other"
    w,b = (g['nodes']['n0'][k] for k in ('weight','bias'))
    inner = [n for n in g['nodes']['n1']['nodes'].values() if n['type'] in ('LIF','Affine')]
    p,r = inner
    v,back,out = np.zeros(4),None,[]
    for now in x:
        i = w@now+b+(0. if back is None else r['weight']@back+r['bias'])
        v = v+1e-3/p['tau']*(p['v_leak']-v+p['r']*i)
        back = (v>p['v_threshold'])*1.
        v = np.where(back>0, p['v_reset'], v)
        out.append(back)
    return np.array(out)


@pytest.mark.parametrize('pre', ['','lif1.','a.b.'])
def test_names_with_dots_in_a_graph_in_a_graph(read, pre, tmp_path):
    g,x = chain(affine(4, 5, 4.), recurrent(pre)),3*RNG.random((40,1,5))
    want = by_hand(g, x[:,0])
    assert want.any() and (NirRun(read(g), SLOW)(x)[:,0]==want).all()
    read(g).save(tmp_path/'again.nir') # taken apart, and no node of a kind that nobody knows
    assert (NirRun(read_nir(tmp_path/'again.nir'), SLOW)(x)[:,0]==want).all()


def into_input(g): g['edges'].append(('n1','input'))
def two_of_a_name(g):
    g['nodes'] |= {'a':recurrent(), 'a.lif':lif(4)}
    g['edges'][2:] = [('n1','a'),('a','a.lif'),('a.lif','output')]
def word(g): g['nodes']['n1']['metadata'] = 'words'
def lies(g): g['nodes']['output']['shape'] = np.array([7])
def none(g): g['nodes']['n0'] = dict(type='Linear', weight=np.zeros((0,5)))


@pytest.mark.parametrize('change,says', [(into_input,'node input: expected no edge that leads to an Input'), (two_of_a_name,'node a.lif: expected one of this name'),
    (word,'node n1: `metadata`: expected a group'), (lies,r'node output: `shape`: expected \[4\], found \[7\]'), (none,'node n0: shape: expected sides above 0')])
def test_graphs_that_cannot_be(read, change, says):
    g = chain(affine(4, 5), lif(4))
    change(g)
    with pytest.raises(CheckError, match=says): NirRun(read(g), SLOW)


def test_what_is_not_read_is_said(read):
    with pytest.warns(UserWarning, match='node n1: not read, as LIF has no such field: .v_rest, w_in'): read(chain(affine(4, 5), lif(4, v_rest=np.ones(4), w_in=np.ones(4))))
    flat = dict(type='Flatten', start_dim=0, end_dim=-1, input_type=np.array([9,9]))
    with pytest.warns(UserWarning, match=r'node n0: its `input_type` says \[9, 9\]'): NirRun(read(chain(flat, affine(4, 6), lif(4), shape=(2,3))), SLOW)


def conv(k, **more):
    return dict(type='Conv2d', weight=RNG.normal(size=(3,2,*k)), bias=RNG.normal(size=3), stride=1, padding='same', dilation=1, groups=1)|more


@pytest.mark.parametrize('k,d', [((2,2),1),((4,3),1),((2,5),2),((3,3),2)])
def test_borders_by_word(read, k, d, tmp_path):
    c = conv(k, dilation=d)
    g = read(chain(c, lif(3,7,6, tau=.01), shape=(2,7,6), out=(3,7,6)))
    x = RNG.normal(size=(1,2,2,7,6))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # torch says that it makes a copy
        want = torch.conv2d(*map(torch.tensor, (x[0],c['weight'],c['bias'])), padding='same', dilation=d).numpy()
    i = g.nodes['n1'].values
    assert np.allclose(NirRun(g, Rules(dt=.01, reset='subtract')).record(x)[0].mem[0]+(i['r']*want>1), i['r']*want)
    g.save(tmp_path/'again.nir')
    with h5py.File(tmp_path/'again.nir') as f: assert f['node/nodes/n0/padding'][()]==b'same'


@pytest.mark.parametrize('c,says', [(dict(padding=-1),'`padding`: expected valid or same'), (dict(padding=np.array([-1,2])),'`padding`: expected valid or same'),
    (dict(stride=2),'`padding`: expected numbers, where steps are longer than 1, found same')])
def test_borders_that_are_none(read, c, says):
    with pytest.raises(CheckError, match=says): network_from_nir(read(chain(conv((3,3), **c), lif(3,7,6), shape=(2,7,6), out=(3,7,6))), SLOW)


def test_flatten_that_counts_the_batch(read):
    flat = dict(type='Flatten', start_dim=1, end_dim=-1)
    one,x = affine(4, 12, 2.),3*RNG.random((20,2,3,2,2))
    pair = [chain(flat|dict(start_dim=s), one, lif(4, r=8., tau=.01), shape=(3,2,2)) for s in (0,1)]
    want = NirRun(read(pair[0]), SLOW)(x)
    with pytest.warns(UserWarning, match='`start_dim` 1 counts the axis of a batch'): assert want.any() and (NirRun(read(pair[1]), SLOW)(x)==want).all()
    part = chain(flat, affine(4, 4), lif(3,4), shape=(3,2,2), out=(3,4)) # which is what it says
    assert NirRun(read(part), SLOW).shapes['n0']==(3,4)


def test_rules_that_do_not_go_with_neurons(read):
    short = read(chain(affine(4, 5), li(4, tau=np.full(4, 1e-6))))
    with pytest.warns(UserWarning, match='node n1: a step of 0.001 s is longer than its τ, 1e-06 s'): run = NirRun(short, SLOW)
    with pytest.raises(CheckError, match='node n1, step [0-9]+: expected finite numbers'): run(np.ones((300,1,5)))
    zero = read(chain(affine(4, 5), lif(4, v_threshold=np.zeros(4))))
    with pytest.raises(CheckError, match='node n1: `v_threshold`: expected above 0'): NirRun(zero, Rules(dt=1e-3, reset='subtract', many=True))


def test_a_state_of_another(read):
    run = NirRun(read(chain(affine(4, 5), recurrent())), SLOW)
    x = RNG.random((6,2,5))
    state = run.record(x[:3])[0].state
    assert (run(x[3:], state=state)==run(x)[3:]).all()
    for other in (np.ones((3,3,5)), np.ones((3,0,5))):
        with pytest.raises(CheckError, match='`state`: expected one of this graph'): run(other, state=state)


@pytest.mark.parametrize('change', [{}, dict(r=np.array([1.,3,9])), dict(tau=np.array([.01,.03,.09])), dict(r=np.array([-1.,1,2]))])
def test_readouts_keep_their_membranes(read, change):
    g = read(chain(affine(4, 5), lif(4), affine(3, 4), li(3, **change), out=(3,)))
    net,x = network_from_nir(g, SLOW),3*RNG.random((30,4,5)).astype(np.float32)
    with torch.no_grad(): mem = net.record(torch.tensor(x))[-1].mem.numpy()
    assert np.allclose(mem, NirRun(g, SLOW)(x), atol=1e-4)


def test_readouts_in_another_place(read):
    with pytest.raises(CheckError, match='node n1: expected neurons that fire, before the last ones, found LI'): network_from_nir(read(chain(affine(4, 5), li(4), affine(4, 4), lif(4))), SLOW)
    g = chain(affine(4, 5), li(4))
    g['nodes']['back'] = dict(type='Linear', weight=np.eye(4))
    g['edges'] += [('n1','back'),('back','n1')]
    with pytest.raises(CheckError, match='node n1: expected nothing that comes back to a readout'): network_from_nir(read(g), SLOW)


@pytest.mark.parametrize('ties', [False,True])
@pytest.mark.parametrize('top', [1.,.75,.3])
def test_membranes_at_the_threshold(read, ties, top):
    "Whole numbers and quarters meet it exactly, in float32 as well"
    one = np.ones(4)
    g,rules = read(chain(dict(type='Linear', weight=.25*np.eye(4)), dict(type='IF', r=one, v_threshold=top*one), shape=(4,))),Rules(seconds=False, ties=ties)
    x = RNG.integers(0, 3, (30,3,4)).astype(np.float32)
    with torch.no_grad(): spk = network_from_nir(g, rules).record(torch.tensor(x))[0].spk.numpy()
    assert (spk==NirRun(g, rules).record(x)[0].spk).all()
