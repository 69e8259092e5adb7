"""How small a file can be on MNIST: neurons removed, weights pruned while they learn, in few levels.

`train` makes networks, for a GPU; `prove` writes their files, loads them and compares every spike, where kernels are compiled.
Accuracies choose on a validation part of the training samples; those of the held-out samples are told, for every network."""
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass

SAMPLES,SIZE,STEPS = .1,(28,28),25 # part of the training samples that validates; of a picture; T


@dataclass(frozen=True)
class Small:
    "What is made of a float network of 1000 hidden neurons"
    keep:int # Hidden neurons that stay
    weight:str # Level set of the first layer
    last:str # … and of the last
    prune:float # Part of the weights of the first layer that is zero
    prune_last:float # … and of the last
    max_rate:float=.04 # Ceiling of the spikes a hidden neuron and step
    epochs:int=10 # Of the float network
    qat_epochs:int=12 # Of the quantized one; pruning rises over the first 6 of 10
    distill:float=.5 # Share of the float network in the loss
    shift:int=1 # Pixels that a training picture moves at most
    seed:int=0

    @property
    def name(self): return f'{self.weight}-{self.last}-k{self.keep}-p{self.prune:g}-{self.prune_last:g}-r{self.max_rate:g}-e{self.qat_epochs}-s{self.seed}'


ROUNDS = [ # each laid out when the one before was known
    (dict(max_rate=.04, epochs=10, qat_epochs=12), [
        (1000,'nonary','nonary',.96,.6), (400,'nonary','nonary',.9,.3), (400,'ternary','nonary',.9,.3), (400,'nonary','nonary',.94,.4),
        (400,'nonary','nonary',.96,.5), (400,'ternary','nonary',.94,.3), (250,'nonary','nonary',.9,.3), (250,'nonary','nonary',.94,.3)]),
    (dict(max_rate=.038, epochs=20, qat_epochs=36), [
        (1000,'nonary','nonary',.98,.7), (600,'nonary','nonary',.96,.5), (500,'nonary','nonary',.95,.5), (400,'nonary','nonary',.94,.4),
        (400,'nonary','nonary',.95,.4), (300,'nonary','nonary',.92,.3)]),
    (dict(max_rate=.038, epochs=20, qat_epochs=60), [
        (1000,'nonary','nonary',.988,.8), (400,'nonary','nonary',.97,.5), (300,'nonary','nonary',.95,.4), (300,'nonary','nonary',.97,.5),
        (200,'nonary','nonary',.92,.3), (200,'nonary','nonary',.95,.4)])]


def data_of(data_dir, seed, device='cpu'):
    "Samples to learn from and to choose by, and those that are held out"
    from quarantion.data.idx import load_mnist
    from quarantion.train.space import validated
    split = load_mnist(data_dir)
    part = validated(split, SAMPLES, seed)
    return [t.to(device) for t in (part.x_train,part.y_train,part.x_test,part.y_test,split.x_test,split.y_test)]


def epoch(net, opt, samples, how, seed, max_rate, objective):
    "Shift the pictures, and train on each once"
    from quarantion.data.augment import shift_pictures
    from quarantion.train.fit import batches, train_epoch
    from quarantion.train.losses import rate_ceiling
    (x,y),pixels = samples,how['shift']
    moved = shift_pictures(x, SIZE, pixels, seed) if x.is_cuda else torch_cat(shift_pictures(p, SIZE, pixels, seed+i) for i,p in enumerate(x.split(4096)))
    data = batches(moved, y, 256, 'direct', STEPS, seed, True, str(x.device))
    return train_epoch(net, opt, data, penalty=lambda net, rate: 4*rate_ceiling(rate, max_rate), objective=objective)


def torch_cat(parts):
    import torch
    return torch.cat(list(parts))


def right(net, x, y):
    from quarantion.train.fit import batches, evaluate
    return evaluate(net, batches(x, y, 1000, 'direct', STEPS, device=str(x.device)))


def learn(net, lr, epochs, before, each):
    "Epochs with a rate that falls along half a cosine; `before` each of them something is done"
    from quarantion.train.fit import cosine
    from quarantion.train.recipes import optimizer_of, recipe_of
    opt,shares = optimizer_of(net, recipe_of('adamw_cosine'), lr)
    for e in range(epochs):
        before(e)
        for g,share in zip(opt.param_groups, shares): g['lr'] = cosine(lr, e, epochs)*share
        each(e, opt)


def float_network(s, data_dir, device, path):
    "Train the float network that settings of a seed share"
    import torch
    from quarantion.files import save_tensors
    from quarantion.train.config import Config
    from quarantion.train.fit import answered, seed_of
    from quarantion.train.job import build
    torch.set_num_threads(1)
    began,(x,y,*rest) = time.perf_counter(),data_of(data_dir, s.seed, device)
    net = build(Config(data='mnist', data_dir=str(data_dir), hidden=1000, seed=s.seed, device=device), split_like(data_dir))
    learn(net, .0015, s.epochs, lambda e: None,
          lambda e,opt: epoch(net, opt, (x,y), asdict(s), seed_of(s.seed, 0, e), s.max_rate, answered))
    seen = [right(net, *rest[i:i+2]) for i in (0,2)]
    head = dict(validation=seen[0]['accuracy'], accuracy=seen[1]['accuracy'], spike_rate=seen[1]['spike_rate'])
    save_tensors(path, dict(net.state_dict()), dict(format='quarantion.small.float', version=1, **head))
    print(f'float seed {s.seed}: {head}, {time.perf_counter()-began:.0f} s', flush=True)
    return path


def split_like(data_dir):
    from quarantion.data.idx import load_mnist
    return load_mnist(data_dir)


def fewer(net, x, keep):
    "The neurons whose spikes weigh most in what reads them"
    from quarantion.quant.pruning import activity_scores, keep_top, remove_neurons
    from quarantion.spikes.stage import stages
    if keep>=1000: return net
    reads = stages(net)[1].synapse.weight.detach().norm(dim=0)
    scores = {k:v*reads.to(v) for k,v in activity_scores(net, x[:500]).items()}
    return remove_neurons(net, keep_top(scores, keep/1000))


def policy_of(s):
    from quarantion.quant.policy import Policy
    return Policy(s.weight, layers=dict(last=dict(weight=s.last)))


def objective_of(teacher, share):
    "Labels, and the answers of the float network"
    import torch
    import torch.nn.functional as F
    from quarantion.train.distillation import distill_scores
    def objective(net, x, y):
        scores,rate = net.answer(x)
        with torch.no_grad(): goal,_ = teacher.answer(x)
        return (1-share)*F.cross_entropy(scores, y)+share*distill_scores(scores, goal),scores,rate
    return objective


def small_network(s, trained, data_dir, device, folder):
    "Remove neurons, quantize, prune while it learns; writes the frozen network"
    import copy
    import torch
    from quarantion.files import load_tensors, save_tensors
    from quarantion.quant.network import prepare
    from quarantion.quant.pruning import free_zeros, hold_zeros, risen, zero_smallest
    from quarantion.train.config import Config
    from quarantion.train.fit import seed_of
    from quarantion.train.job import build
    torch.set_num_threads(1)
    began,(x,y,*rest) = time.perf_counter(),data_of(data_dir, s.seed, device)
    net = build(Config(data='mnist', data_dir=str(data_dir), hidden=1000, seed=s.seed, device=device), split_like(data_dir))
    tensors,head = load_tensors(trained, 'quarantion.small.float', 1)
    net.load_state_dict({k:torch.from_numpy(v) for k,v in tensors.items()})
    q,rise = prepare(fewer(copy.deepcopy(net), x, s.keep), policy_of(s), x[:256]).train(),max(1, 6*s.qat_epochs//10)
    objective = objective_of(net.eval(), s.distill)
    def prune(e):
        if e>rise: return
        free_zeros(q)
        zero_smallest(q, tuple(risen(e, rise, p) for p in (s.prune,s.prune_last)))
        hold_zeros(q)
    learn(q, .0006, s.qat_epochs, prune,
          lambda e,opt: epoch(q, opt, (x,y), asdict(s), seed_of(s.seed, 1, e), s.max_rate, objective))
    free_zeros(q)
    q.eval().freeze()
    seen = [right(q, *rest[i:i+2]) for i in (0,2)]
    row = dict(validation=seen[0]['accuracy'], accuracy=seen[1]['accuracy'], spike_rate=seen[1]['spike_rate'],
               float_accuracy=head['accuracy'], float_validation=head['validation'], float_rate=head['spike_rate'],
               float_bytes=os.path.getsize(trained), seconds=round(time.perf_counter()-began, 1),
               machine=torch.cuda.get_device_name() if device!='cpu' else 'cpu', torch=torch.__version__)
    codes = {k:v for k,v in q.state_dict().items() if not k.endswith('weight.original')}
    save_tensors(folder/f'{s.name}.safetensors', codes, dict(format='quarantion.small', version=1, settings=asdict(s), trained=row))
    print(f'{s.name}: {row["validation"]:.2%} validation, {row["accuracy"]:.2%} held out, rate {row["spike_rate"]:.2%}, {row["seconds"]:.0f} s', flush=True)


def train(settings, data_dir, device, folder, jobs):
    "Float networks, one for each seed, ceiling and number of epochs, then what is made of them"
    folder.mkdir(parents=True, exist_ok=True)
    kind = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as tmp, ProcessPoolExecutor(jobs, kind) as pool:
        of = lambda s: (s.seed,s.max_rate,s.epochs)
        first = {of(s):s for s in settings}
        made = {k:pool.submit(float_network, s, data_dir, device, f'{tmp}/{"-".join(map(str, k))}.safetensors') for k,s in first.items()}
        work = [pool.submit(small_network, s, made[of(s)].result(), data_dir, device, folder) for s in settings]
        for w in as_completed(work): w.result()


def prove(path, data_dir, machine):
    "A row: the file of a network, loaded again and compared with it on every held-out sample"
    import torch
    from safetensors.numpy import save as as_bytes
    from quarantion.files import load_tensors
    from quarantion.quant.lowering import lower
    from quarantion.quant.network import prepare
    from quarantion.quant.proof import verify
    from quarantion.runtime.network import load, save
    from quarantion.train.config import Config
    from quarantion.train.fit import batches
    from quarantion.train.job import build
    tensors,head = load_tensors(path, 'quarantion.small', 1)
    s,trained = Small(**head['settings']),head['trained']
    x,_,_,_,xt,yt = data_of(data_dir, s.seed)
    net,twin = (build(Config(data='mnist', data_dir=str(data_dir), hidden=h), split_like(data_dir)) for h in (s.keep,1000))
    q = prepare(net, policy_of(s), x[:256])
    q.load_state_dict(q.state_dict()|{k:torch.from_numpy(v) for k,v in tensors.items()})
    with tempfile.TemporaryDirectory() as out:
        program = lower(q)
        save(program, f'{out}/net')
        size,proof = os.path.getsize(f'{out}/net'),verify(q, load(f'{out}/net'), batches(xt, yt, 500, 'direct', STEPS))
    float_bytes = len(as_bytes({k:v.cpu().numpy() for k,v in twin.state_dict().items()})) # of the network that it was made from
    row = asdict(s)|dict(accuracy=proof.accuracy, spike_rate=proof.spike_rate, bytes=size, float_bytes=float_bytes,
        left=[int((l.weight!=0).sum()) for l in program.layers], weights=[l.weight.size for l in program.layers],
        fired=[l.fired for l in proof.layers], spikes=proof.spikes, mismatches=proof.mismatches, problems=proof.problems,
        machine=machine, trained=trained)
    if s.seed==0: row['coding'] = coding(program.layers[0].weight, program.layers[0].quant_max)
    print(f'{s.name}: {size:,} bytes, {float_bytes/size:.1f}×, {trained["validation"]:.2%} validation, {proof.accuracy:.2%} held out, '
          f'rate {proof.spike_rate:.2%}, {proof.mismatches} mismatches', flush=True)
    return row


def coding(codes, quant_max):
    "Bytes of the first layer: entropy, as written, and of an ideal coder with a model that was fitted to these very codes"
    import numpy as np
    from quarantion.runtime.coding import encode_codes, entropy_bytes
    from sklearn.linear_model import LogisticRegression
    w,past = codes.astype(np.int64).reshape(-1, *SIZE),[(0,-1),(-1,0),(-1,-1),(-1,1),(0,-2),(-2,0),(-2,-1),(-2,1),(-1,-2),(-1,2),(0,-3),(-3,0)]
    z,flat = w!=0,(codes!=0).reshape(len(codes), -1)
    def near(a, dy, dx): return np.pad(a.astype(float), ((0,0),(3,3),(3,3)))[:, 3+dy:31+dy, 3+dx:31+dx]
    column,row = np.log(z.mean(0, keepdims=True)+1e-3)*np.ones(w.shape),np.log(flat.mean(1)+1e-4)[:,None,None]*np.ones(w.shape)
    x,y = np.stack([column,row,*(near(z, *d) for d in past)], -1).reshape(z.size, -1),z.reshape(-1)
    p = LogisticRegression(C=100, max_iter=300).fit(x, y).predict_proba(x)[:,1]
    lean = sum(near(np.sign(w), *d) for d in past[:4]).reshape(-1)[y] # what a sign is told by
    signs = sum(entropy_bytes(np.sign(w.reshape(-1)[y][lean==v])) for v in np.unique(lean))
    richer = -np.log2(np.where(y, p, 1-p)).sum()/8+entropy_bytes(abs(w[z]))+signs
    return dict(entropy=entropy_bytes(codes), written=len(encode_codes(codes, quant_max)), richer=float(richer))


def measure(a, machine, put, path):
    "Train what the rounds name with each seed, or prove what a folder holds"
    settings = [Small(*g, **how, seed=s) for how,grid in ROUNDS for s in range(a.seeds) for g in grid]
    command = 'python tools/measure.py small --seeds 3 --jobs 12 --data-dir FOLDER --device cuda --save DIR; python tools/measure.py small --data-dir FOLDER --from DIR'
    if not a.from_: train(settings, a.data_dir, a.device, a.save, a.jobs)
    if a.save: return
    rows = []
    for f in sorted(a.from_.glob('*.safetensors')): # each is kept as it comes
        rows.append(prove(f, a.data_dir, machine))
        put(path, dict(command=command, rows=sorted(rows, key=lambda r: (r['qat_epochs'],-r['keep'],r['weight'],r['prune'],r['seed']))))
