"Observers against torchao's, against themselves in parts, and across processes"
import copy
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.quant.histograms import Histogram, Magnitudes, Percentile, entropy_range, mse_range, percentile_range
from quarantion.quant.level_sets import Levels, mse_scale, percentile_scale, quantize
from quarantion.quant.observers import MinMax, MovingAverage, PerStep, find_observers
from quarantion.quant.policy import preset
from quarantion.quant.network import prepare
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF

KINDS = {
    'minmax': MinMax, 'channels': partial(MinMax, ch_axis=1), 'average': partial(MovingAverage, .1), 'adaptive': partial(MovingAverage, .3, adaptive=True, ch_axis=-1),
    'aware': partial(MovingAverage, .1, ch_axis=1, spike_aware=True), 'steps': PerStep, 'aware-steps': partial(PerStep, spike_aware=True),
    'mse': partial(Histogram, quant_max=4, bins=256), 'entropy': partial(Histogram, quant_max=7, bins=256, rule=entropy_range),
    'percentile': partial(Percentile, 99., ch_axis=1, bins=256), 'aware-histogram': partial(Histogram, ch_axis=1, bins=64, spike_aware=True)}
kinds = pytest.mark.parametrize('make', KINDS.values(), ids=KINDS)


def batches(seed=0, shape=(6,4,3)):
    g = torch.Generator().manual_seed(seed)
    out = [torch.randn(shape, generator=g)*10.**i*(torch.rand(shape, generator=g)<.6) for i in (0,-1,1,-3,2)]
    out[1][:,2] = 0 # a silent channel
    return out


def state(ob): return {k:v.clone() for k,v in ob.state_dict().items()}


def equal(a, b): return a.keys()==b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def seen(ob): return {k:v for k,v in state(ob).items() if k not in ('ring','step')}


# torchao

@pytest.mark.parametrize('dtype', [torch.float32,torch.float64])
@pytest.mark.parametrize('q', [127,7,4])
@pytest.mark.parametrize('ch', [None,0,1,-1])
@pytest.mark.parametrize('c', [None,.01,.3])
def test_scales_are_those_of_torchao(c, ch, q, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        ao = pytest.importorskip('torchao.quantization.pt2e.observer')
    name = ('' if c is None else 'MovingAverage')+('' if ch is None else 'PerChannel')+'MinMaxObserver'
    kw = dict(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric if ch is None else torch.per_channel_symmetric, quant_min=-q, quant_max=q)
    kw |= ({} if c is None else dict(averaging_constant=c)) | ({} if ch is None else dict(ch_axis=ch))
    ours = MinMax(q, ch) if c is None else MovingAverage(c, q, ch)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        theirs = getattr(ao, name)(**kw)
    assert (ours.quant_min,ours.quant_max)==(theirs.quant_min,theirs.quant_max)
    g = torch.Generator().manual_seed(q)
    x = [torch.randn(5, 3, 4, generator=g, dtype=dtype)*10.**i for i in range(-3,4)]
    one_sided,zeros = [x[3].abs(),-x[2].abs()],[torch.zeros(5, 3, 4, dtype=dtype)]
    for data in (x,x[::-1],one_sided,zeros,zeros+x,x+zeros,[x[3][:,:0]]+x if ch in (None,) else x):
        for o in ours,theirs: (o.reset if o is ours else o.reset_min_max_vals)()
        for b in data:
            ours(b); theirs(b)
            if not b.numel(): continue
            (s,z),(s2,z2) = ours.calculate_qparams(),theirs.calculate_qparams()
            assert torch.equal(s, s2.reshape(-1)) and torch.equal(z, z2.reshape(-1).long()) and s.dtype==s2.dtype
            assert torch.equal(ours.min_val, theirs.min_val.reshape(-1)) and torch.equal(ours.max_val, theirs.max_val.reshape(-1))


def test_a_single_channel_and_a_scalar():
    a,b,c = MinMax(),MinMax(ch_axis=0),MinMax()
    for x in torch.randn(3, 1, 9): a(x); b(x)
    assert torch.equal(a.calculate_qparams()[0], b.calculate_qparams()[0]) and a.calculate_qparams()[0].shape==(1,)
    c(torch.tensor(-3.)); c(torch.tensor(2))
    assert c.calculate_qparams()[0].item()==np.float32(3)/np.float32(127)


# refusal

@kinds
@pytest.mark.parametrize('bad', [np.nan,np.inf,-np.inf,'huge'])
@pytest.mark.parametrize('dtype', [torch.float32,torch.float64,torch.float16,torch.bfloat16])
def test_a_refused_batch_leaves_no_trace(make, bad, dtype):
    ob = make()
    for warm in False,True:
        if warm:
            for x in batches(): ob(x)
        before = state(ob)
        x = torch.ones(9, 4, 3, dtype=dtype)*100
        x[7,1,1] = bad if bad!='huge' else 1e300 if dtype==torch.float64 else torch.inf
        with pytest.raises(CheckError, match='`x`: expected finite numbers'): ob(x)
        assert equal(state(ob), before)
    with pytest.raises(CheckError, match='real numbers'): ob(torch.ones(2, 4, 3, dtype=torch.complex64))
    if ob.ch_axis is not None:
        with pytest.raises(CheckError, match='an axis|channels on axis'): ob(torch.ones(()))
    if ob.ch_axis in (1,-1):
        with pytest.raises(CheckError, match='channels on axis'): ob(torch.ones(6, 7, 9))
    assert equal(state(ob), before)


@kinds
def test_what_comes_in_goes_out_and_nothing_is_kept_alive(make):
    ob,x = make(),batches()[0].requires_grad_()
    assert ob(x) is x
    assert not any(b.requires_grad for b in ob.buffers())
    for dtype in torch.float16,torch.bfloat16,torch.int8,torch.bool: ob(torch.ones(6, 4, 3).to(dtype))
    before = state(ob)
    assert ob(torch.zeros(6, 4, 0)[:,:,:0]).numel()==0 and equal(state(ob), before), 'an empty batch'


# compiled

@kinds
def test_no_graph_breaks(make):
    torch._dynamo.reset()
    plain,ob = make(),make()
    run = torch.compile(lambda x: ob(x)*2, fullgraph=True, backend='aot_eager')
    for x in batches():
        plain(x)
        assert torch.equal(run(x), x*2)
    assert equal(state(ob), state(plain))
    before,x = state(ob),torch.ones(6, 4, 3)
    x[0,0,0] = torch.nan
    with pytest.raises(CheckError, match='found nan'): run(x)
    assert equal(state(ob), before)
    ob.disable_observer()
    run(torch.ones(6, 4, 3)*1e6)
    ob.enable_observer()
    assert equal(state(ob), before)


@kinds
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_a_gpu_waits_for_nothing_but_the_refusal(make, monkeypatch):
    plain,ob = make(),make().cuda()
    first,*rest = batches()
    plain(first); ob(first.cuda())
    device = [x.cuda() for x in rest]
    monkeypatch.setattr('quarantion.quant.observers._refuse', lambda x, lo, hi, where: (lo.clone(),hi.clone()))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.cuda.set_sync_debug_mode('error')
    try:
        for x in device: ob(x)
    finally: torch.cuda.set_sync_debug_mode('default')
    for x in rest: plain(x)
    for k,v in state(plain).items(): torch.testing.assert_close(state(ob)[k].cpu(), v)


# state

@kinds
def test_state_loads_back_into_a_new_one(make, tmp_path):
    ob,new = make(),make(history=4)
    for x in batches(): ob(x)
    ob.freeze()
    save_tensors(tmp_path/'o.safetensors', ob.state_dict(), dict(format='t', version=1)) # finite, whatever was seen
    new.load_state_dict({k:torch.from_numpy(np.asarray(v)) for k,v in load_tensors(tmp_path/'o.safetensors', 't', 1)[0].items()})
    assert equal(state(new), state(ob)) and new.frozen and not new.enabled
    assert torch.equal(new.calculate_qparams()[0], ob.calculate_qparams()[0])
    for o in ob,new: o.reset(); o.enable_observer()
    assert not ob.min_val.numel() and not ob.step and not ob.ring.any()
    for x in batches(seed=1): ob(x); new(x)
    assert equal(state(new), state(ob))
    outer = nn.Sequential(make())
    outer.load_state_dict({f'0.{k}':v for k,v in state(ob).items()})
    assert equal(state(outer[0]), state(ob)) and equal(state(copy.deepcopy(ob)), state(ob))


def test_a_state_that_does_not_fit_is_refused():
    ob = Histogram(ch_axis=1, bins=64)
    for x in batches(): ob(x)
    good = state(ob)
    with pytest.raises(CheckError, match='as many rows'): Histogram(ch_axis=1, bins=64).load_state_dict(good | dict(min_val=torch.zeros(3)))
    with pytest.raises(CheckError, match='finite'): Histogram(ch_axis=1, bins=64).load_state_dict(good | dict(max_val=torch.full((4,), torch.nan)))
    with pytest.raises(RuntimeError, match='size mismatch'): Histogram(bins=64).load_state_dict(good)
    with pytest.raises(RuntimeError, match='Unexpected'): MinMax(ch_axis=1).load_state_dict(good)
    with pytest.raises(RuntimeError, match='Missing.*enabled'): MinMax().load_state_dict({k:v for k,v in state(MinMax()).items() if k!='enabled'})
    with pytest.raises(RuntimeError, match='Missing'): MinMax().load_state_dict({})


def test_networks_from_before_there_was_a_history():
    torch.manual_seed(0)
    x = torch.rand(8, 12)
    q = prepare(Network(nn.Linear(12, 9), LIF(.9), nn.Linear(9, 3), LIF(.9), steps=5), preset('int8'), x)
    q.train()(x)
    new = q.state_dict()
    old = {k:v for k,v in new.items() if k.rsplit('.', 1)[-1] not in ('count','step','ring') and not (k.endswith('.frozen') and any(o in k for o in ('membrane','input','weights','current')))}
    assert len(old)<len(new)
    for o in find_observers(q).values(): o.reset()
    q.load_state_dict(old)
    assert all(torch.equal(q.state_dict()[k], v) for k,v in old.items())
    assert len(find_observers(q))==7 and q.layers[0].membrane.count.item()==1
    q.freeze()
    assert not any(o.enabled for o in find_observers(q).values())


@kinds
def test_history_is_bounded_and_in_order(make):
    ob = make(history=3)
    data = batches()
    for i,x in enumerate(data):
        ob(x)
        h = ob.history()
        assert h.step.tolist()==list(range(max(1, i-1), i+2)) and len(ob.ring)==3
        assert torch.equal(h.scale[-1], ob.calculate_qparams()[0].amax())
        for j,b in zip(h.step, range(len(h.step))):
            x = data[j-1][data[j-1]!=0] if ob.spike_aware else data[j-1]
            assert (h.min_val[b],h.max_val[b])==(x.min(),x.max())


# switches

def test_disable_freeze_reset():
    ob = MovingAverage()
    ob(torch.ones(3)); ob.disable_observer(); ob(torch.ones(3)*9)
    assert ob.max_val==1 and ob.step==1
    ob.enable_observer(); ob(torch.ones(3)*101)
    assert ob.max_val.item()==2
    ob.freeze(); ob(torch.ones(3))
    with pytest.raises(CheckError, match='not frozen'): ob.enable_observer()
    with pytest.raises(CheckError, match='not frozen'): ob.merge(MovingAverage())
    ob.disable_observer(); ob.reset()
    with pytest.raises(CheckError, match='values to have been observed'): ob.calculate_qparams()
    ob(torch.ones(3))
    assert not ob.step, 'reset does not enable'
    ob.enable_observer(); ob(torch.ones(3))
    assert ob.max_val==1


def test_the_constant_falls_to_what_was_asked_for():
    x = torch.rand(40, 5)
    ob = MovingAverage(.1, adaptive=True)
    want = None
    for n,b in enumerate(x, 1):
        ob(b)
        c = max(.1, 1/n)
        want = b.max() if want is None else want+c*(b.max()-want)
        torch.testing.assert_close(ob.max_val[0], want)
        if n<=10: torch.testing.assert_close(ob.max_val[0], x[:n].amax(1).mean())


@pytest.mark.parametrize('adaptive', [False,True])
def test_an_outlier_moves_an_average_by_c_of_the_way(adaptive):
    ob,top = MovingAverage(.05, adaptive=adaptive),MinMax()
    for i in range(40): ob(torch.tensor([-1.,1.])); top(torch.tensor([-1.,1.]))
    ob(torch.tensor([100.])); top(torch.tensor([100.]))
    assert 1<ob.max_val<=1+.05*99+1e-4 and top.max_val==100


def test_silent_entries_channels_and_batches():
    ob = MovingAverage(.5, ch_axis=1, spike_aware=True)
    ob(torch.tensor([[0.,2.],[0.,4.]]))
    assert ob.count.tolist()==[0,1] and ob.min_val.tolist()==[0,2] and ob.calculate_qparams()[0][0]==torch.finfo(torch.float32).eps
    ob(torch.zeros(2, 2)) # nothing
    ob(torch.tensor([[-6.,0.],[0.,8.]]))
    assert ob.count.tolist()==[1,2] and ob.min_val.tolist()==[-6,5] and ob.max_val.tolist()==[-6,6]
    assert ob.history().max_val.tolist()==[4,0,8]


# parts and the whole

@kinds
@pytest.mark.parametrize('parts', [2,3])
def test_merged_is_whole(make, parts):
    data = batches()
    whole,obs = make(),[make() for _ in range(parts)]
    for i,x in enumerate(data): whole(x); obs[i%parts](x)
    for o in obs[1:]: obs[0].merge(o)
    a,b = seen(obs[0]),seen(whole)
    if isinstance(whole, MovingAverage):
        assert torch.equal(a['count'], b['count'])
        single = [make() for _ in range(2)]
        single[0](data[0])
        single[0].merge(single[1]); assert torch.equal(single[0].max_val, (lambda o: (o(data[0]), o.max_val)[1])(make()))
        single[1].merge(single[0]); assert equal(seen(single[1]), seen(single[0]))
    else:
        for k in a: torch.testing.assert_close(a[k], b[k], rtol=1e-12 if k in ('total','squares') else 0, atol=0)
    with pytest.raises(CheckError, match='`other`'): obs[0].merge(nn.Linear(1, 1))


def test_histograms_of_other_bins_do_not_merge():
    a,b = Histogram(bins=64),Histogram(bins=128)
    a(torch.ones(3)); b(torch.ones(3)*2)
    before = state(a)
    with pytest.raises(CheckError, match='64 bins, found 128'): a.merge(b)
    assert equal(state(a), before)


def test_steps_come_and_go():
    ob = PerStep()
    ob(torch.ones(2, 3)); ob(torch.ones(5, 3)*2); ob(torch.ones(1, 3)*3)
    assert ob.count.tolist()==[3,2,1,1,1] and ob.max_val.tolist()==[3,2,2,2,2] and ob.statistics().mean.tolist()==[2,1.5,2,2,2]
    short = PerStep()
    short(torch.ones(2, 3)*7); ob.merge(short)
    assert ob.max_val.tolist()==[7,7,2,2,2] and ob.entries.tolist()==[12,9,3,3,3]
    short.merge(ob)
    assert len(short.count)==5


values = st.lists(st.one_of(st.floats(-1e3, 1e3, width=32), st.sampled_from([0., -0., 1., -1., 2., -2., .5, 1024., 2**-149, -2**-130, 1e-30, 3e37, -1e38])), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(values, st.integers(0, 5), st.sampled_from([4,16,256]), st.booleans())
def test_a_histogram_depends_on_values_alone(v, seed, bins, aware):
    x = torch.tensor(v, dtype=torch.float32)
    whole,parts = (Histogram(bins=bins, spike_aware=aware) for _ in range(2))
    whole(x)
    p = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    for b in x[p].split(1+seed): parts(b)
    assert torch.equal(parts.counts.sum(1), whole.counts.sum(1))
    if whole.counts.any():
        assert torch.equal(parts.counts, whole.counts) and torch.equal(parts.exponent, whole.exponent)
        assert np.array_equal(whole.counts[0].numpy(), np.histogram(x[x!=0].double().numpy(), whole.edges()[0].numpy())[0])
        assert whole.calculate_qparams()[0]>=torch.finfo(torch.float32).eps


# rules

def magnitudes(x, bins=2048, **kw):
    ob = Histogram(bins=bins, **kw)
    ob(x)
    return ob.magnitudes()


def squared(x, a, q): return (quantize(x, a/q, Levels('', q))*(a/q)-x).double().pow(2).mean().item()


@pytest.mark.parametrize('q', [1,4,7,127])
@pytest.mark.parametrize('kind', ['normal','student','outlier','uniform','constant','spikes'])
def test_least_squares_is_least(kind, q):
    g = torch.Generator().manual_seed(q)
    x = torch.randn(20_000, generator=g)
    if kind=='student': x = x/torch.randn(20_000, 3, generator=g).pow(2).mean(1).sqrt()
    if kind=='outlier': x[0] = 60.
    if kind=='uniform': x = torch.rand(20_000, generator=g)-.5
    if kind=='constant': x = torch.full((500,), 3.)
    if kind=='spikes': x = (x>1).float()
    top = x.abs().max().item()
    err = squared(x, mse_range(magnitudes(x), q).item(), q)
    best = min(squared(x, top*2**(-k/40), q) for k in range(241))
    assert err<=squared(x, top, q)*1.001+1e-12 and err<=best*1.03+1e-5*top**2
    if kind in ('student','outlier') and q<=7: assert err<.7*squared(x, top, q), 'the tail is worth clipping'
    if kind=='normal':
        torch.testing.assert_close(mse_range(magnitudes(x), q), mse_scale(x, Levels('', q)).double().reshape(1)*q, rtol=.06, atol=0)


@pytest.mark.parametrize('rule', [mse_range,entropy_range,percentile_range])
def test_rules_treat_channels_alike_and_scale_with_them(rule):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(3000, 4, generator=g)*torch.randn(3000, 4, generator=g).exp()
    x[:,3] = 0
    for q in 1,4,127:
        rows = rule(magnitudes(x, 256, ch_axis=1), q)
        for c in range(4): torch.testing.assert_close(rows[c], rule(magnitudes(x[:,c], 256), q)[0], rtol=1e-12, atol=0)
        assert torch.equal(rule(magnitudes(x*8, 256, ch_axis=1), q), rows*8) and rows[3]==0
        assert torch.equal(rule(magnitudes(-x, 256, ch_axis=1), q), rows) or rule is not mse_range
        assert (rows<=x.abs().amax(0)).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 400), st.floats(.1, 100), st.integers(0, 99))
def test_a_percentile_is_within_a_bin(n, percentile, seed):
    x = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    m = magnitudes(x, 512)
    exact = percentile_scale(x, Levels('', 1), percentile=percentile).double().item()
    assert exact-1e-6<=percentile_range(m, 1, percentile).item()<=exact+m.width.item()


def test_more_codes_than_bins_are_not_chosen_among():
    m = Magnitudes(torch.ones(1, 8, dtype=torch.int64), torch.ones(1).double(), torch.full((1,), 7.5).double())
    assert mse_range(m, 32767)==7.5 and entropy_range(m, 32767)==7.5


SPARSE = {'spikes': lambda u,v,m: m, 'signs': lambda u,v,m: (u-.5).sign()*m, 'uniform': lambda u,v,m: (2*u-1)*m, 'one side': lambda u,v,m: u*m,
    'a loud tenth': lambda u,v,m: torch.where(u<.1, 10., 1.)*m, 'codes': lambda u,v,m: (u*15).floor().add(1)*m, 'around 1': lambda u,v,m: (.7+.6*u*v)*m}


@pytest.mark.parametrize('q', [1,4,7,127])
@pytest.mark.parametrize('density', [.5,.05,.01,.003,.0005])
def test_no_rule_loses_3_db_to_minmax_on_sparse_bounded_data(density, q):
    g = torch.Generator().manual_seed(0)
    u,v,m = (torch.rand(100_000, generator=g) for _ in range(3))
    for name,make in SPARSE.items():
        x = make(u, v, (m<density).float())
        error = lambda a: float((torch.round(x/a*q).clamp(-q, q)*a/q-x).double().pow(2).sum())
        obs = MinMax(q),Histogram(q),Percentile(quant_max=q),Histogram(q, rule=entropy_range)
        for o in obs: o(x)
        base,*others = (error(o.calculate_qparams()[0].double().item()*q) for o in obs)
        assert max(others)<=base*10**.3+1e-9, (name,base,others)


def test_all_zeros_are_seen_but_not_counted():
    for ob in Histogram(bins=64),Percentile(bins=64),Histogram(bins=64, rule=entropy_range):
        ob(torch.zeros(7))
        assert ob.calculate_qparams()[0]==torch.finfo(torch.float32).eps and not ob.counts.any()


def test_entropy_in_the_source_range_clips_less_the_more_codes_there_are():
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    a = [entropy_range(magnitudes(x), q).item() for q in (4,7,127)]
    assert a[0]<a[1]<a[2]<=x.abs().max()


@pytest.mark.parametrize('percentile', [0,-1,101])
def test_percentiles_in_range(percentile):
    with pytest.raises(CheckError, match='percentile'): Percentile(percentile)


# two processes

def _rank(rank, file, out):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{file}', rank=rank, world_size=2)
    result = {}
    for name,make in KINDS.items():
        ob = make()
        ob.synchronize()
        for x in batches(): ob(x[:,:,rank:rank+1] if ob.ch_axis in (0,1) else x[rank*2:rank*2+2])
        before = state(ob)
        x = torch.ones(6, 4, 1) if ob.ch_axis in (0,1) else torch.ones(2, 4, 3)
        if rank: x[0,0,0] = torch.nan
        try: ob(x)
        except CheckError as e: result[name+' refused'] = str(e)
        assert equal(state(ob), before), name
        ob(torch.ones(6, 4, 3)[:,:,:3*(1-rank) if ob.ch_axis!=-1 else 3][:6 if ob.ch_axis in (0,1) or not rank else 0]*.5) # nothing on the second rank
        result[name] = state(ob)
    net = nn.parallel.DistributedDataParallel(nn.Sequential(MinMax(ch_axis=1), nn.Linear(3, 2), MovingAverage(.1)))
    for o in find_observers(net).values(): o.synchronize()
    for x in batches(): net(x[rank,:,:]).sum().backward()
    result['ddp'] = {f'{n}.{k}':v for n,o in find_observers(net.module).items() for k,v in state(o).items()}
    torch.save(result, f'{out}.{rank}')
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason='gloo')
def test_two_processes_see_what_one_sees(tmp_path):
    mp.spawn(_rank, (str(tmp_path/'meet'),str(tmp_path/'out')), 2)
    a,b = (torch.load(tmp_path/f'out.{r}', weights_only=True) for r in (0,1))
    for name,make in KINDS.items():
        one = make()
        for x in batches(): one(x[:,:,:2] if one.ch_axis in (0,1) else x[:4])
        one(torch.ones(6, 4, 3)*.5)
        assert equal(a[name], b[name]), name
        for k,v in state(one).items():
            torch.testing.assert_close(a[name][k], v, rtol=1e-12 if k in ('total','squares') else 0, atol=0, msg=f'{name} {k}')
        assert 'found others on another rank' in a[name+' refused'] and 'found nan at' in b[name+' refused']
    assert equal(a['ddp'], b['ddp'])
    one = MinMax(ch_axis=1)
    for x in batches(): one(x[:2].reshape(-1, 3))
    assert torch.equal(a['ddp']['0.min_val'], one.min_val) and torch.equal(a['ddp']['0.ring'], one.ring)


def test_a_silent_batch_is_not_seen_but_in_a_step_that_waits_for_nothing():
    from quarantion.spikes.doubts import Doubts, collecting
    ob = MinMax(spike_aware=True)
    assert not ob.seen
    ob(torch.zeros(4))
    assert not ob.seen
    with collecting(Doubts()): assert ob.seen # a batch came; numbers are not waited for
    with pytest.raises(CheckError, match='values to have been observed'): ob.calculate_qparams()
