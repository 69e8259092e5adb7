"""Measure what README and the site show; results go to nbs/measured/NAME.json.

Accuracies: each policy and seed is one `quarantion run`, trained twice: a run whose files do not come out the same is
not stored, the others are lines of nbs/measured/canon.jsonl.

    python tools/measure.py digits                    # 5 seeds, 4 policies, on the CPU
    python tools/measure.py time                      # the default job, five times
    python tools/measure.py exports --run RUN         # flash, memory and proofs of what leaves the house
    python tools/measure.py nir                       # which simulators run which programs as graphs of NIR
    python tools/measure.py where                     # every way out of the house, by policy and reset (tools/where.py)
    python tools/measure.py search                    # how high answers stand, by words, LSA, MiniLM (extra text), both
    python tools/measure.py shells                    # ways to fill shells, and what tiers find, by MiniLM (extra text)
    python tools/measure.py resonance                 # buckets and waves as memory, on docstrings; --from NPY: MiniLM's vectors
    python tools/measure.py curvature                 # curvature of edges beside GraphRicciCurvature, one thread; and of Debian's packages
    python tools/measure.py lattice                   # E8 beside levels at equal bits, drawn and trained, 2 seeds; decode speed on one thread
    python tools/measure.py loop                      # the bar of memory.loop on questions held out, 5 seeds (tools/store.py)
    python tools/measure.py store                     # rows of a file in several orders, and what a transaction costs
    python tools/measure.py nearest                   # neighbours beside other libraries, and what bits are worth, on one thread
        --from DIR                                    # of the vectors in its x.npy and q.npy
    python tools/measure.py ask                       # pages of Python's manual, by words, vectors, the walk
        --from FILE --only faq                        # keeps vectors of MiniLM there; parts: settings titles letters nits faq
    python tools/measure.py walk                      # walks on Debian's packages beside scipy, igraph and networkx, one thread
    python tools/measure.py tokens --seeds 5         # tokenizers on text held out, 20 MB of each corpus, or --some BYTES
    python tools/measure.py source                    # 32,000 tokens of 50 MB of Python files, beside BPE of tokenizers; a row of tokens.json
    python tools/measure.py tutorials                 # how long each tutorial runs, on two threads
    python tools/measure.py bench                     # every benchmark, or those named after it
    python tools/measure.py break-even                # the constants by which the runtime chooses, into its notebook
    python tools/measure.py accuracy                  # ours, snnTorch and Brevitas on the digits, 5 seeds, one thread
    python tools/measure.py text --device cuda --jobs 2 # a language model of 1 M parameters in few bits, 5 seeds; --some 1: a tiny one
    python tools/measure.py words --device cuda --jobs 16 # the same model over several tokenizers, 5 seeds; --data-dir: where Debian.txt is
    python tools/measure.py route --device cuda --jobs 16 # experts by fixed keys and by a learned gate, 5 seeds; --some STEPS
    python tools/measure.py kinds --seeds 3 --device cuda --jobs 16 # a language model by each way for queries and keys to meet
    python tools/measure.py large --device cuda       # the one of 23 M parameters, once; --data-dir: where Debian.txt is; --some BYTES: a tiny one
    python tools/measure.py codes                     # what networks learn from each code of the digits, 5 seeds
    python tools/measure.py bits                      # hashes of the default job's files, into tests/stored/bits.json
    python tools/measure.py claims --data-dir FOLDER  # the training part of MNIST counted, and peak memory; Linux
    python tools/measure.py gpu --data-dir FOLDER     # every test and benchmark of the GPU, and MNIST; or some parts:
        tests layers steps grid own memory mnist parts # each takes the place of what was stored of it
        tests test_cuda_codes.py                      # only these files
        mnist --save DIR; mnist --from DIR            # trained where kernels are not compiled, proved where they are
    python tools/measure.py health --jobs 16          # ten sick networks, healed and not, and healthy ones; 5 seeds (tools/sick.py)
    python tools/measure.py convert --data-dir FOLDER # ReLU networks into spikes: digits and MNIST, 3 seeds
    python tools/measure.py until --data-dir FOLDER   # answers before the end, of digits and MNIST; 2 seeds of each
    python tools/measure.py meetings --jobs 16        # ranks that meet rarely: bytes against accuracy, digits, 5 seeds (tools/meetings.py)
    python tools/measure.py likeness                  # Debian's packages beside those that models draw, 5 seeds, on one thread
    python tools/measure.py links                     # sets of Debian's packages told from others, 5 seeds, on one thread
    python tools/measure.py wire --seeds 3            # codes of gradients over 10, 100 and 1,000 Mbit, and what networks learn; two processes
        --data-dir FOLDER --some 0 --epochs 5 --jobs 7 # also MNIST: all samples, or so many; seven jobs side by side
    python tools/measure.py phases --jobs 16          # each phases preset, nonary and 2-bit membranes, 5 seeds of the digits
    python tools/measure.py natural --jobs 16         # optimizers with equal numbers of tries, on the digits
    python tools/measure.py scaling                   # 1 and 2 processes of DDP, what follows for 3 and 4 (4 and 8 on 8 cores or more), and these; --device cuda
    python tools/measure.py mnist --jobs 5 -- --data-dir FOLDER --device cuda
    python tools/measure.py frontier --seeds 3 --jobs 12 --data-dir FOLDER --device cuda   # bytes against accuracy
        --save DIR                                    # trains only, for a machine without the coder of files
        --from DIR                                    # writes, loads and proves the files of what was trained
    python tools/measure.py small --seeds 3 --jobs 12 --data-dir FOLDER --device cuda --save DIR  # pruned while they learn; --from DIR
"""
import argparse
import json
import math
import multiprocessing
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path

MNIST = '--data mnist --hidden 1000 --epochs 10 --qat-epochs 8 --batch 256 --lr 0.0015'
JOBS = dict(digits=['--data','digits'], mnist=MNIST.split())


FRONTIER = [f'{p}:{l1}:{rate}' for p,l1,rate in (
    ('nonary',.2,.1), ('nonary',.2,.04), ('nonary',.4,.1), ('ternary',.3,.05),
    ('int8',0,1), ('nonary',0,1), ('ternary',0,1), ('int4',.1,.1))]
FRONTIER += [f'{p}:0:.1:6' for p in ('mint2','mint4','tcq4','current8')]


MEASURED = Path(__file__).parent.parent/'nbs'/'measured'


def put(path, d): path.write_text(json.dumps(d, indent=1)+'\n')


def quarantion(*args, **how): return subprocess.run([sys.executable, '-m', 'quarantion.cli', *args], **how)


def cpu():
    try:
        with open('/proc/cpuinfo') as f: return next(l.split(':')[1].strip() for l in f if l.startswith('model name'))
    except (OSError, StopIteration): return platform.processor() or platform.machine()


def version_of(name):
    "Of an installed package, or of one that is only on the path; nothing if it is absent"
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version
    try: return version(name)
    except PackageNotFoundError: pass
    try: return getattr(import_module(name), '__version__', 'of unknown version')
    except ImportError: return None


PROMOTE = 'import sys; from quarantion.train.reproduce import promote; line = promote(*sys.argv[1:]); print(line.model, line.program)'


def one(args, folder=None):
    "A run, its line in the list of canon runs of a folder, where one is given, and what is kept of it"
    with tempfile.TemporaryDirectory() as out:
        r = quarantion('run', *args, '--out', out, '--json', capture_output=True, text=True)
        if r.returncode: raise SystemExit(f'{" ".join(args)}:\n{r.stderr}')
        run = next(Path(out).iterdir())
        result = json.loads((run/'result.json').read_text())
        row = json.loads(r.stdout)|dict(float_bytes=result['float_bytes'])
        if folder is not None:
            p = subprocess.run([sys.executable, '-c', PROMOTE, run, folder], capture_output=True, text=True)
            if p.returncode: raise SystemExit(f'{" ".join(args)}:\n{p.stderr}')
            row |= zip(('model','program'), p.stdout.split())
    row.pop('run')
    print(f"{row['policy']:8} seed {row['seed']}: float {row['float_accuracy']:.2%}, "
          f"quantized {row['test_accuracy']:.2%}, {row['mismatches']} mismatches, {row['seconds']:.0f} s", flush=True)
    return row


def phases_run(phases, policy, seed):
    "Train on one thread, lower and prove"
    import torch
    from quarantion.train.config import Config
    from quarantion.train.job import finish, load_data, start, train
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out:
        cfg = Config(phases=phases, policy=policy, seed=seed)
        run,split = start(cfg, out),load_data(cfg)
        r = finish(run, split, *train(run, split))
    keys = 'policy','seed','float_accuracy','test_accuracy','samples','spike_rate','spikes','mismatches','bytes','seconds'
    return dict(phases=phases)|{k:r[k] for k in keys}


def phases(a, path):
    "Each preset of phases with each policy and seed, as many steps in all; what is there already is not run again"
    import torch
    from quarantion.train.phases import PHASES
    how,key = dict(torch=torch.__version__, machine=f'{cpu()}, 1 thread'),lambda r: (r['phases'],r['policy'],r['seed'])
    was = json.loads(path.read_text()) if path.exists() else {}
    rows = was['rows'] if {k:was.get(k) for k in how}==how else []
    order = [(p,q,s) for s in range(a.seeds) for p in PHASES for q in ('nonary','mint2')]
    path.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        for job in as_completed([pool.submit(phases_run, *o) for o in order if o not in map(key, rows)]):
            rows = sorted([*rows, job.result()], key=lambda r: order.index(key(r)))
            put(path, dict(command='python tools/measure.py phases', **how, seeds=a.seeds, rows=rows))
            print(*key(rows[-1]), f'{len(rows)} of {len(order)}', flush=True)


def natural_run(*how):
    "A try on one thread"
    import torch
    from quarantion.bench.natural import tried
    torch.set_num_threads(1)
    return tried(*how)


def natural(a, path):
    "Twelve tries of each optimizer by three seeds, then new seeds of the best of each"
    import torch
    from quarantion.bench.natural import WAYS, chosen
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        ran = lambda jobs: list(pool.map(natural_run, *zip(*jobs)))
        tries = ran([(w.name,lr,w.knob,v,s) for s in range(3) for w in WAYS for v in w.values for lr in w.rates])
        best = chosen(tries)
        final = ran([(w.name,best[w.name][0],w.knob,best[w.name][1],s) for s in range(3, 3+a.seeds) for w in WAYS])
    put(path, dict(command='python tools/measure.py natural', torch=torch.__version__, machine=f'{cpu()}, 1 thread',
                   chosen=best, tries=tries, final=final))


WIRE = ('none',False),('int8',False),('int4',False),('nonary',False),('nonary',True),('onebit',False),('topk(0.1)',False),('topk(0.01)',False),('powersgd',False)


MOVING = ('none',()),('nonary',()),('topk(0.01)',()),('topk(0.1)',()),('topk(auto)',()),('topk(auto)',(('part',1.),))
FLOORS = [('none',()),('nonary',())]+[('topk(auto)',(('floor',f),('part',1e-3))) for f in (.02,.05,.1,.2,.3,.5)] # so little of a step that floors decide


def floors(a, ran, Job):
    "What is learned where nothing but the floor decides about the share"
    jobs = [Job(data='digits', epochs=10, code=c, how=how, seed=s) for s in range(a.seeds) for c,how in FLOORS]
    return [dict(r, called=Job(code=r['code'], how=r['how'][:1]).called, data='') for r in ran(jobs, 1000.)]


def moving(a, ran, Job):
    "A share that moves beside ones that do not: the digits learned over each wire, by each seed; what is there after each rate"
    rows,order = [],[]
    for mbit in 10.,100.,1000.:
        for r in ran([Job(data='digits', epochs=10, code=c, how=how, seed=s) for s in range(a.seeds) for c,how in MOVING], mbit):
            called = Job(code=r['code'], how=r['how']).called
            rows.append(dict(r, called=called, data='', set=f'digits, {mbit:g} Mbit', load=round(os.getloadavg()[0], 1)))
            print(called, mbit, r['seed'], f"{r['accuracy']:.4f}, {1e3*r['step_s']:.1f} ms, {r['wire']:,.0f} bytes, share {r.get('share', 0):.3f}, {r.get('again', 0):.3f} more", flush=True)
            if (called,mbit) not in order: order.append((called,mbit))
        of = lambda key,k: statistics.median(r[k] for r in rows if (r['called'],r['mbit'])==key)
        yield dict(rows=rows, times=[dict(called=c, mbit=m, step_s=of((c,m), 'step_s'), wire=of((c,m), 'wire')) for c,m in order])


def wire(a, path):
    "Each code at each rate, and what two processes learn with it: the digits, and MNIST where its files are"
    import torch
    from quarantion.bench.wire import Job, ran
    called = lambda r: r['code']+', requantized'*r['twice']
    was = json.loads(path.read_text()) if a.only else dict(rows=[], times=[]) # parts that are not asked for stay
    parts = a.only or ['digits','mnist','times','moving','floors']
    here = dict(torch=torch.__version__, machine=f'{cpu()}, {os.cpu_count()} cores')
    said = dict(said=f'{a.seeds} seeds; steps of 784-1000-10, T=10, batches of 64; digits 64-256-10, 20 epochs', **here)
    d = dict(command='python tools/measure.py wire')|(said if {'digits','times'}&{*parts} else {k:was[k] for k in said})
    d |= dict(mnist=was.get('mnist'), times=[] if 'times' in parts else was['times'],
              rows=[r for r in was['rows'] if r['set'].lower() not in parts], moving=was.get('moving'), floors=was.get('floors'))
    if 'mnist' in parts and a.data_dir:
        d['mnist'] = f'MNIST 784-256-10, {a.some or 50_000:,} samples, {a.epochs} epochs, {a.seeds} seeds: {here["machine"]}, torch {here["torch"]}'
    def found(jobs, mbit): # one after another, or, where only accuracies count, some beside each other
        if mbit or a.jobs==1: return ran(jobs, mbit)
        with ThreadPoolExecutor(a.jobs) as pool: return [r for rs in pool.map(lambda j: ran([j]), jobs) for r in rs]
    def add(key, jobs, mbit=0., **more):
        for r in found(jobs, mbit):
            d[key].append(dict(r, called=called(r), data='', load=round(os.getloadavg()[0], 1), **more))
            print(called(r), mbit, *more.values(), r['seed'], f"{r['accuracy']:.4f}, {1e3*r['step_s']:.1f} ms, {r['wire']:,.0f} bytes", flush=True)
        put(path, d)
    jobs = lambda **how: [Job(code=c, twice=t, seed=s, **how) for s in range(a.seeds) for c,t in WIRE]
    if 'digits' in parts: add('rows', jobs(data='digits', epochs=20), set='digits')
    if 'mnist' in parts and a.data_dir: add('rows', jobs(data=str(Path(a.data_dir).resolve()), epochs=a.epochs, some=a.some, batch=256), set='MNIST')
    for mbit in (10.,100.,1000.) if 'times' in parts else (): add('times', [Job(code=c, twice=t, hidden=1000, some=64*(12 if mbit<100 else 30)) for c,t in WIRE], mbit)
    if 'floors' in parts: put(path, d := d|dict(floors=floors(a, ran, Job)))
    for m in moving(a, ran, Job) if 'moving' in parts else (): put(path, d|dict(moving=m))


def clock(times, path):
    "How long the default job takes, as a whole process"
    wall = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            quarantion('run', '--out', out, capture_output=True, check=True)
            wall.append(round(time.perf_counter()-start, 2))
    put(path, dict(command='quarantion run', machine=f'{cpu()}, {os.cpu_count()} cores', wall_s=wall))
    print(wall)


def bits_class():
    "What the last bits of a sum depend on, beside the code"
    import sklearn
    import torch
    from quarantion.kernels.isa import level
    return dict(cpu=cpu(), capability=torch.backends.cpu.get_cpu_capability(), kernels=level(),
                torch=torch.__version__, sklearn=sklearn.__version__)


def bits(seeds, path):
    "SHA-256 of the networks that the default job leaves, on one thread"
    import torch
    from quarantion.files import sha256
    from quarantion.train.config import Config
    from quarantion.train.job import finish, load_data, start, train
    torch.set_num_threads(1)
    rows = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as out:
            cfg = Config(seed=seed)
            run,split = start(cfg, out),load_data(cfg)
            finish(run, split, *train(run, split))
            rows[str(seed)] = {f:sha256(run/f) for f in ('model.safetensors','integer.safetensors')}
        print(seed, *rows[str(seed)].values(), flush=True)
    put(path, dict(command='python tools/measure.py bits', where=bits_class(), seeds=rows))


def tutorials(path):
    "Each tutorial from beginning to end in a process of its own"
    rows = []
    with tempfile.TemporaryDirectory() as d:
        for nb in sorted((MEASURED.parent/'tutorials').glob('*.ipynb')):
            began = time.perf_counter()
            subprocess.run(['exec_nb', str(nb), '--dest', f'{d}/{nb.name}', '--exc_stop'], check=True, cwd=nb.parent,
                           env=os.environ|dict(IN_TEST='1', OMP_NUM_THREADS='2'))
            rows.append(dict(tutorial=nb.name, seconds=time.perf_counter()-began))
            print(f'{rows[-1]["seconds"]:5.1f} s  {nb.name}', flush=True)
    put(path, dict(command='python tools/measure.py tutorials', machine=f'{cpu()}, 2 threads', rows=rows))


def exports(run, path):
    "The network of the digits, and the program of a run, in other languages: what they take, and the proof"
    import numpy as np
    from quarantion.checks import CheckError
    from quarantion.data.digits import load_digits
    from quarantion.export.c import prove_c, to_c
    from quarantion.export.cortex_m import BOARDS, prove_board
    from quarantion.export.js import prove_js, to_js
    from quarantion.export.wasm import SHIPPED, prove_wasm
    from quarantion.runtime.network import load
    from quarantion.train.job import load_data, settings
    d,rows = load_digits(),[]
    nets = [('digits', load(MEASURED/'digits.safetensors'), np.concatenate([d.x_test, d.x_train])[:1000])]
    if run: nets.append((settings(run).data, load(run/'integer.safetensors'), load_data(settings(run)).x_test[:1000].numpy()))
    for data,net,x in nets:
        shape = '-'.join(map(str, [math.prod(net.in_shape), *(p.neurons for p in net.plan)]))
        top,right = max(l.quant_max for l in net.layers),None
        if run and data!='digits': right = json.loads((run/'result.json').read_text())['test_accuracy']
        def row(where, proof, **more):
            rows.append(dict(data=data, shape=shape, quant_max=top, accuracy=right, where=where, samples=proof.samples, spikes=proof.spikes,
                             mismatches=max(proof.mismatches.values()), **more))
            print(rows[-1], flush=True)
        for how in (dict(), dict(sparse=True)):
            text = to_c(net, **how)
            if not how: row('C', prove_c(net, text, x))
            for board in BOARDS:
                try: got = prove_board(net, text, x[:100], board)
                except CheckError as e: print(e); continue # too small for it
                size = {k:v for k,v in vars(got.bytes).items() if k!='cpu'}
                row(board.cpu, got.proof, **how, **size, instructions=got.instructions)
        module = to_js(net)
        row('JavaScript', prove_js(net, module, x), bytes=len(module.module))
        row('the runtime in a browser', prove_wasm(net, x), bytes=SHIPPED.stat().st_size)
    put(path, dict(command='python tools/measure.py exports' + ' --run RUN'*bool(run), rows=rows))


def nir_program(code, seed=0, **how):
    "40 inputs, 50 hidden neurons and 10 that fire, of random codes"
    import numpy as np
    from quarantion.runtime.layer import ONE, IntLayer
    from quarantion.runtime.network import IntegerNetwork
    top,rng = dict(int8=127, int4=7, nonary=4, ternary=1)[code],np.random.default_rng(seed)
    def layer(c, j, leak=.9, reset='zero', current=False, recurrent=False):
        full = lambda v: np.full(c, v, np.int32)
        theta = max(2, int(top*np.sqrt(j)*.6))*256
        more = dict(current_leak=full(ONE//2)) if current else {}
        if recurrent and c==50: more['recurrent'] = rng.integers(-top, top+1, (c,c)).astype(np.int8)
        m = full(leak*ONE) if leak else rng.integers(ONE//2, ONE, c).astype(np.int32)
        return IntLayer(rng.integers(-top, top+1, (c,j)).astype(np.int8), full(0), full(theta)+rng.integers(-3, 4, c).astype(np.int32), m,
                        np.full(c, 1/theta), guard=8, reset='none' if reset=='readout' and c==10 else 'zero' if reset=='readout' else reset,
                        quant_max=127, **more)
    return IntegerNetwork((layer(50, 40, **how),layer(10, 50, **how)), (40,), 100, 1., 0, 1)


def nir_pictures(pool):
    "A convolution, a pooling or none, and ten neurons"
    import numpy as np
    from quarantion.runtime.layer import ONE, IntLayer, Op
    from quarantion.runtime.network import IntegerNetwork
    rng = np.random.default_rng(0)
    def layer(w, theta, **how):
        full = lambda v: np.full(len(w), v, np.int32)
        return IntLayer(w.astype(np.int8), full(0), full(theta*256), full(.9*ONE), np.full(len(w), 1/theta/256), guard=8, reset='zero', **how)
    conv = layer(rng.integers(-4, 5, (4,1,3,3)), 9, conv=((1,1),(1,1),(1,1),1))
    ops = (Op('sum', (2,2), (2,2)),Op('flatten')) if pool else (Op('flatten'),)
    return IntegerNetwork((conv,layer(rng.integers(-4, 5, (10,64 if pool else 256)), 30, before=ops)), (1,8,8), 100, 1., 0, 1)


NIR_KINDS = [('two layers, reset to zero', {}), ('a readout behind them', dict(reset='readout')), ('no leak', dict(leak=1.)),
             ('a leak for each neuron', dict(leak=0)), ('currents that last', dict(current=True)), ('recurrent', dict(recurrent=True)),
             ('reset by subtraction', dict(reset='subtract')), ('the same, a step later', dict(reset='subtract_delayed'))]


def nir(path):
    "Programs as graphs of NIR, by each simulator"
    import tempfile as t

    import numpy as np
    from quarantion.export.nir import prove_nir, to_nir
    from quarantion.export.parts.floats import float_records
    from quarantion.export.parts.simulators import SIMULATORS, run_elsewhere, simulator_version
    tools = {n:simulator_version(n) for n in SIMULATORS}
    x,codes,kinds = (np.random.default_rng(1).random((100,200,40))<.4).astype(float),[],[]
    for code in 'int8','int4','nonary','ternary':
        net = nir_program(code)
        file,(want,near) = to_nir(net),float_records(net, x.astype(np.int32), 100)
        proof,by = prove_nir(net, file, x),{}
        with t.TemporaryDirectory() as d:
            file.save(d)
            for n in tools:
                got = {k:run_elsewhere(n, f'{d}/net.nir', x, ['lif0','lif1'], 1e-4, k) for k in ('float64','float32')}
                by[n] = {k:sum(int((a.spk!=b.spk).sum()) for a,b in zip(want, g)) for k,g in got.items()}
        codes.append(dict(codes=code, spikes=proof.spikes, fired=proof.fired, spikes_differing=by, rounded=proof.rounded, near=near))
        print(codes[-1], flush=True)
    pictures = (np.random.default_rng(1).random((100,20,1,8,8))<.4).astype(float)
    nets = [(what, nir_program('nonary', **how), x[:,:20]) for what,how in NIR_KINDS]
    nets += [(f'a convolution{", sums of windows" if pool else ""}', nir_pictures(pool), pictures) for pool in (False,True)]
    for what,net,x in nets:
        profile = 'exact-soft' if any(l.reset.startswith('sub') for l in net.layers) else 'portable'
        proof = prove_nir(net, to_nir(net, profile=profile), x, tuple(tools))
        told = lambda v,ties: f'{v} samples differ' if v else f'{ties} of {proof.samples} samples by a tie' if ties else 'same'
        said = {n:told(v, proof.ties[n]) for n,v in proof.mismatches.items()}
        said |= {n:v.removeprefix(f'{n}: file: expected one that it reads and runs, found ')[:120] for n,v in proof.refused.items()}
        kinds.append(dict(what=what, profile=profile, spikes=proof.spikes, by=said))
        print(kinds[-1], flush=True)
    put(path, dict(command='python tools/measure.py nir', tools=dict(quarantion='float64')|tools, nir=version_of('nir'), codes=codes, kinds=kinds))


def where_it_runs(path):
    "Each export on a small network of each policy and reset, proved"
    import where
    rows = where.cells()
    for r in rows:
        if not r['proved']: print(r)
    put(path, dict(command='python tools/measure.py where', samples=where.SAMPLES, rows=rows))


def search_times():
    "Seconds of `quarantion search` as a whole process, first and again, and those of the processor"
    import resource
    out = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(4):
            began,held = time.perf_counter(),resource.getrusage(resource.RUSAGE_CHILDREN)
            quarantion('search', 'read lines from a compressed file', check=True, capture_output=True,
                       env=os.environ|dict(XDG_CACHE_HOME=cache))
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            out.append((time.perf_counter()-began, now.ru_utime+now.ru_stime-held.ru_utime-held.ru_stime))
    return dict(first=out[0], again=min(out[1:]), machine=f'{cpu()}, {os.cpu_count()} cores')


def search(path, seed=0):
    "First sentences of Python's docstrings as questions, every second one"
    from quarantion.checks import CheckError
    from quarantion.memory.corpus import read_corpus, without_topics
    from quarantion.memory.minilm import MiniLM
    from quarantion.bench.relevance import first_sentences, ranked, relevance
    task,others = first_sentences(without_topics(read_corpus('python'))),{}
    try:
        net = MiniLM()
        others['MiniLM'] = net(task.documents),net(task.questions)
    except CheckError as e: print(e)
    asked = slice(1, None, 2)
    found = {n:relevance(l[asked], task.answers[asked]) for n,l in ranked(task, seed, others=others).items()}
    for n,f in found.items(): print(f'{f.mrr:.3f} {f.first10:.1%} {n}')
    put(path, dict(command='python tools/measure.py search', python=platform.python_version(), texts=len(task.documents),
                   questions=len(task.answers[asked]), seed=seed, times=search_times(), rows={n:f._asdict() for n,f in found.items()}))


def shells(seeds, path, texts=4000):
    "Ways to fill shells, and what tiers find, of embeddings that MiniLM (extra text) makes of Python's docstrings"
    import numpy as np
    from quarantion.bench.shells import bench_shells, time_shells
    from quarantion.memory.corpus import read_corpus, without_topics
    from quarantion.memory.minilm import MiniLM
    all = list(dict.fromkeys(without_topics(read_corpus('python')).texts))
    some = [all[i] for i in np.sort(np.random.default_rng(0).permutation(len(all))[:texts])]
    x = MiniLM(unit=False)(some)
    rows = bench_shells(x, [len(t) for t in some], seeds)
    put(path, dict(command='python tools/measure.py shells', python=platform.python_version(), texts=len(x), seeds=seeds, n=2000,
                   machine=f'{cpu()}, {os.cpu_count()} cores', times=time_shells(x[200:], x[:200]), **rows))


def resonance(path, vectors=None):
    "Vectors of Python's docstrings, by MiniLM (those of a file, if they were made before) and by LSA"
    import numpy as np
    from quarantion.bench.measure import machine
    from quarantion.bench.resonance import bars, hashing, remembered
    from quarantion.memory.corpus import read_corpus, without_topics
    from quarantion.memory.embed import fit_lsa
    from quarantion.memory.minilm import MiniLM
    texts = list(dict.fromkeys(without_topics(read_corpus('python')).texts))
    lsa = fit_lsa(texts)(texts)
    sets = {'MiniLM':np.load(vectors) if vectors else MiniLM(most=64)(texts), 'LSA':lsa[np.abs(lsa).max(1)>0]}
    out = dict(command='python tools/measure.py resonance'+' --from NPY'*bool(vectors), machine=machine(), python=platform.python_version(), hashing=[])
    for name,x in sets.items():
        x = sets[name] = x[np.random.default_rng(0).permutation(len(x))]
        about = f'{name}, {len(x)-300:,} docstrings, {x.shape[1]} numbers each, 300 other docstrings as questions'
        out['hashing'].append(dict(name=name, about=about, rows=[r._asdict() for r in hashing(x[300:], x[:300])]))
    x = sets['MiniLM']
    out |= dict(waves_of=f'MiniLM, docstrings, {x.shape[1]} numbers each', bars_stored=1000, bars_noise=.2,
                waves=[r._asdict() for r in remembered(x, [100,1000,8000])], bars=bars(x, 1000))
    put(path, out)


def curvature(path):
    "Rows of the benchmark, on one thread, and where Python's packages in Debian are bridged"
    import warnings
    from quarantion.bench.curvature import bench_curvature, package_curvature
    from quarantion.bench.measure import machine
    from quarantion.bench.packages import debian_dependencies
    warnings.simplefilter('ignore') # of the peer
    out = dict(command='python tools/measure.py curvature', machine=machine(), python=platform.python_version(),
               versions={n:version_of(n) for n in ('GraphRicciCurvature','networkit','POT','networkx')})
    put(path, out|dict(rows=[r.__dict__ for r in bench_curvature(1)], packages=package_curvature(debian_dependencies())))


def lattice(path):
    "E8 beside levels: gains of drawn numbers and trained layers, curves, and how fast points are found, on one thread"
    import torch
    from quarantion.bench.lattice import SOURCES, Gain, LayerRow, bench_lattice, rate_curves
    from quarantion.bench.measure import machine
    from quarantion.tables import Row
    torch.set_num_threads(1)
    rows = bench_lattice(1)
    of = lambda kind: [r.__dict__ for r in rows if isinstance(r, kind)]
    versions = {n:version_of(n) for n in ('numpy','torch','faiss-cpu')}
    put(path, dict(command='python tools/measure.py lattice', machine=machine(), versions=versions, speed=of(Row),
                   gains=of(Gain), layers=of(LayerRow), curves={s:rate_curves(s) for s in SOURCES}))


INDEXES = 'faiss-cpu','hnswlib','usearch','scann','turbovec','rabitqlib','numpy'


def nearest(a, path):
    "Neighbours beside other libraries, then codes alone and what is looked at twice; on one thread"
    import numpy as np
    from quarantion.bench.bits import looked_twice, recall_by_bits
    from quarantion.bench.docstrings import Found, docstrings
    from quarantion.bench.nearest import measure_nearest
    if a.from_: found = Found(*(np.load(a.from_/f'{n}.npy') for n in 'xq'), 'docstrings by MiniLM, 64 pieces')
    else: found = docstrings(say=print)
    d = measure_nearest(1, found=found)
    began = time.perf_counter()
    d |= dict(bits=recall_by_bits(found), twice=looked_twice(found))
    d['seconds'] += time.perf_counter()-began
    versions = {n:version_of(n) for n in INDEXES}
    put(path, dict(command='python tools/measure.py nearest', machine=f'{cpu()}, {os.cpu_count()} cores', versions=versions, **d))
    print(path, f"{d['seconds']:.0f} s")


def walk(path):
    "Walks on Debian's packages beside other libraries, on one thread"
    from quarantion.bench.walk import measure_walk
    versions = {n:version_of(n) for n in ('scipy','igraph','networkx')}
    put(path, dict(command='python tools/measure.py walk', machine=f'{cpu()}, {os.cpu_count()} cores', versions=versions, **measure_walk()))
    print(path)


def tokens(a, path):
    "Tokenizers beside those of other libraries, on text held out"
    from quarantion.bench.tokens import measure_tokens
    versions = {n:version_of(n) for n in ('tokenizers','sentencepiece','morfessor')}
    some = f' --some {a.some}' if a.some else ''
    d = measure_tokens(a.some or 2*10**7, a.seeds)
    put(path, dict(command=f'python tools/measure.py tokens --seeds {a.seeds}{some}', machine=f'{cpu()}, {os.cpu_count()} cores', versions=versions, **d))
    print(path, f"{d['seconds']:.0f} s")


def source(path):
    "32,000 tokens of 50 MB alone, in the place of the row that was there"
    from quarantion.bench.tokens import SOURCE, source_texts, training_rows
    d = json.loads(path.read_text())
    d['timed'] = [r for r in d['timed'] if not r['work'].startswith(SOURCE)]+[vars(r) for r in training_rows(source_texts(), 32000, SOURCE)]
    put(path, d)
    print(d['timed'][-1])


def train_parts(old):
    "What a training step is made of, with the quantized one as it was when this was first measured"
    from quarantion.bench.train import bench_train_parts
    rows,before = bench_train_parts(),', before'
    was = [r for r in old if r['who'].endswith(before)] or [r|{'who':r['who']+before} for r in old if r['who']=='int8']
    i = next(i for i,r in enumerate(rows) if r['who']=='int8')
    return rows[:i]+was+rows[i:]


def bench(names, path):
    "Rows of each benchmark, kept as soon as they are there"
    from quarantion.cli import BENCHES
    for name in names or [b for b in BENCHES if b not in ('convert','nearest','walk','curvature','lattice','tokens')]: # these have commands of their own
        how = ['bench', name, *['--threads','1']*(name=='codes')] # an encoder works on one
        r = quarantion(*how, '--json', stdout=subprocess.PIPE, text=True, check=True)
        d = json.loads(r.stdout)
        if not d['rows']: continue # such as those of a GPU where there is none
        all = json.loads(path.read_text()) if path.exists() else {}
        if name=='train': d['parts'] = train_parts(all.get(name, {}).get('parts', ()))
        put(path, all | {d.pop('bench'): dict(command=' '.join(['quarantion', *how]), **d)})
        print(name, len(d['rows']), 'rows', flush=True)


def break_even(path):
    "Measure the constants, and write them into the notebook of the runtime; export it afterwards"
    from quarantion.bench.events import measure_break_even
    found = ','.join(f'{v:.3g}' for v in measure_break_even())
    text,n = re.subn(r'"BREAK_EVEN = [^#]*#', f'"BREAK_EVEN = {found} #', path.read_text())
    assert n==1, path
    path.write_text(text)
    print(f'BREAK_EVEN = {found}')


def accuracy(seeds, path):
    "Every contender with every seed, on one thread"
    import torch
    from quarantion.bench.accuracy import SETTINGS, bench_accuracy, contenders
    torch.set_num_threads(1)
    rows,order = [],[c[:4] for c in contenders()]
    place = lambda r: (order.index(tuple(r[k] for k in ('who','weight','membrane','note'))), r['seed'])
    def keep(row):
        rows.append(row)
        versions = {n:version_of(n) for n in ('torch','snntorch','brevitas')}
        put(path, dict(command='python tools/measure.py accuracy', machine=f'{cpu()}, 1 thread', versions=versions,
                       settings=SETTINGS, rows=sorted(rows, key=place)))
        who = f"seed {row['seed']} {row['who']:10} {row['weight']:8} {row['membrane']:12} {row['note']:30}"
        did = row.get('why') or (f"{row['at_once']:.2%} at once, {row['test_accuracy']:.2%}, "
                                 f"spikes {row['spike_rate']:.2%}, {row['mismatches']} mismatches")
        print(who, did, flush=True)
    for s in range(seeds): bench_accuracy(s, keep)


def text_run(levels, seed, settings):
    import torch
    from quarantion.bench.text import one_text
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out: return one_text(levels, seed, out, **settings)


def text(a, path):
    "Each level set with each seed"
    import torch
    from quarantion.bench.text import LEVELS, MILLION, TINY
    settings,rows = (TINY if a.some else MILLION)|dict(device=a.device),[]
    where = torch.cuda.get_device_name() if a.device!='cpu' else f'{cpu()}, 1 thread a run'
    head = dict(command=f'python tools/measure.py text --seeds {a.seeds} --device {a.device}'+' --some 1'*bool(a.some), machine=where, torch=torch.__version__, settings=settings)
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        for job in as_completed([pool.submit(text_run, l, s, settings) for s in range(a.seeds) for l in LEVELS]):
            rows = sorted([*rows, job.result()], key=lambda r: (LEVELS.index(r['levels']), r['seed']))
            put(path, head|dict(rows=rows))
            r = job.result()
            print(f"{r['levels']:8} seed {r['seed']}: {r['bits_per_byte']:.3f} bits a byte, {r['bytes']:,} bytes, {r['mismatches']} mismatches, {r['seconds']:.0f} s", flush=True)


def kind_run(kind, tau, seed, settings):
    return text_run('float', seed, settings|dict(attention=kind, tau=tau))|dict(kind=kind, tau=tau)


def kinds(a, path):
    "Each way for queries and keys to meet, with each seed"
    import torch
    from quarantion.bench.text import MEETINGS, MILLION, TINY
    settings,rows = (TINY if a.some else MILLION)|dict(device=a.device, qat_epochs=0),[]
    where = torch.cuda.get_device_name() if a.device!='cpu' else f'{cpu()}, 1 thread a run'
    command = f'python tools/measure.py kinds --seeds {a.seeds} --device {a.device}'+' --some 1'*bool(a.some)
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        for job in as_completed([pool.submit(kind_run, k, t, s, settings) for s in range(a.seeds) for k,t in MEETINGS]):
            r = job.result()
            rows = sorted([*rows, r], key=lambda r: (MEETINGS.index((r['kind'],r['tau'])), r['seed']))
            put(path, dict(command=command, machine=where, torch=torch.__version__, settings=settings, rows=rows))
            print(f"{r['kind']:8} {r['tau']} seed {r['seed']}: {r['bits_per_byte']:.3f} bits a byte, {r['seconds']:.0f} s", flush=True)


def large(a, path):
    "The model of 23 M parameters, once: vocabulary of 32,000, nonary weights; what Python and Debian say of themselves"
    import torch
    from quarantion.bench.route import python_text
    from quarantion.bench.words import text_file
    from quarantion.language.lessons import TextConfig, blocks_of, learn_text
    from quarantion.language.merge import train_tokenizer
    from quarantion.language.tokenizer import save_tokenizer
    folder,vocab = a.data_dir or tempfile.mkdtemp(),1000 if a.some else 32000
    text,tmp = python_text()+b'\n\n'+Path(text_file('Debian', folder, 10**8)[5:]).read_bytes(),Path(tempfile.mkdtemp())
    if a.some: text = text[:a.some]
    (tmp/'text').write_bytes(text)
    settings = dict(hidden=384, layers=8, heads=8, basin_dim=64, context=256, batch=32, epochs=6, qat_epochs=2, lr=1e-3, device=a.device)
    if a.some: settings |= dict(hidden=32, layers=1, heads=2, basin_dim=16, context=64, epochs=1, qat_epochs=1)
    cfg = TextConfig(data=f'text:{tmp}/text', tokens=f'{tmp}/tokenizer.json', policy='nonary', **settings)
    began = time.perf_counter()
    save_tokenizer(cfg.tokens, tok := train_tokenizer(blocks_of(text, cfg)[0], vocab))
    took = time.perf_counter()-began
    r = learn_text(cfg, tmp)
    keys = 'bits_per_byte float_bits_per_byte test_accuracy parameters bytes places mismatches trained problems seconds'.split()
    where = torch.cuda.get_device_name() if a.device!='cpu' else cpu()
    put(path, dict(command=f'python tools/measure.py large --device {a.device}'+f' --some {a.some}'*bool(a.some), machine=where, python=platform.python_version(), torch=torch.__version__, settings=settings,
                   text=len(text), vocab=len(tok), tokenizer_s=took, **{k:r[k] for k in keys}))
    print(path.read_text())


def words_run(way, corpus, seed, folder, settings):
    import torch
    from quarantion.bench.words import one_words
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out: return one_words(way, corpus, seed, out, folder, **settings)


def words(a, path):
    "Each tokenizer with each corpus and each seed"
    import torch
    from quarantion.bench.words import SMALL, TEXTS, WORDS, text_file
    settings,rows = SMALL|dict(device=a.device)|(dict(epochs=1) if a.some else {}),[]
    where = torch.cuda.get_device_name() if a.device!='cpu' else f'{cpu()}, 1 thread a run'
    head = dict(command=f'python tools/measure.py words --seeds {a.seeds} --device {a.device}'+' --some 1'*bool(a.some), machine=where, torch=torch.__version__, settings=settings)
    folder = a.data_dir or tempfile.mkdtemp()
    sizes = {c:len(Path(f[5:]).read_bytes()) for c in TEXTS if (f := text_file(c, folder))!='pydoc'} # each is there before it is asked for
    jobs = [(w, c, s, folder, settings) for s in range(a.seeds) for c in TEXTS for w in WORDS]
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        for job in as_completed([pool.submit(words_run, *j) for j in jobs]):
            r = job.result()
            rows = sorted([*rows, r], key=lambda r: (TEXTS.index(r['corpus']), [*WORDS].index(r['way']), r['seed']))
            put(path, head|dict(sizes=sizes, rows=rows))
            print(f"{r['corpus']:7} {r['way']:12} seed {r['seed']}: {r['bits_per_byte']:.3f} bits a byte, {r['seconds']:.0f} s", flush=True)


def route_run(kind, experts, seed, steps, device):
    import torch
    from quarantion.bench.route import python_text, routed
    from quarantion.language.lessons import TextConfig, split_of
    torch.set_num_threads(1)
    text = python_text()
    return routed(kind, experts, seed, split_of(text, TextConfig(context=128)), steps, device)|dict(bytes=len(text))


def route(a, path):
    "Each gate with each number of experts and each seed, and the feed-forward part without experts"
    import torch
    from quarantion.bench.route import GATES, MIXTURES
    steps,rows = a.some or 3000,[]
    where = torch.cuda.get_device_name() if a.device!='cpu' else f'{cpu()}, 1 thread a run'
    command = f'python tools/measure.py route --seeds {a.seeds} --device {a.device}'+f' --some {steps}'*bool(a.some)
    ways = [('dense',0)]+[(g,e) for e in MIXTURES for g in GATES]
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        for job in as_completed([pool.submit(route_run, g, e, s, steps, a.device) for s in range(a.seeds) for g,e in ways]):
            r = job.result()
            size,rows = r.pop('bytes'),sorted([*rows, r], key=lambda r: (ways.index((r['kind'],r['experts'])), r['seed']))
            put(path, dict(command=command, python=platform.python_version(), torch=torch.__version__, machine=where, bytes=size, rows=rows))
            print(r, flush=True)


def _held(key): # bytes of memory of this process
    return int(re.search(rf'{key}:\s+(\d+)', Path('/proc/self/status').read_text())[1])*1024


def _clear(): # the peak starts again from here
    Path('/proc/self/clear_refs').write_text('5')
    return _held('VmRSS')


def peak_training(batch, policy=None):
    """Bytes above those of an idle process with torch, at the peak of three steps of the optimizer.

    The network is 784-1000-10, with 25 steps of constant input."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    from quarantion import prepare, preset
    from quarantion.spikes import LIF, Network
    torch.set_num_threads(1)
    torch.randn(64, 64)@torch.randn(64, 64)
    base = _clear()
    net = Network(nn.Linear(784,1000), LIF(), nn.Linear(1000,10), LIF(reset='none'), steps=25)
    x,y = torch.rand(batch, 784),torch.arange(batch)%10
    net = prepare(net, preset(policy), x) if policy else net
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(3):
        loss = F.cross_entropy(net(x)[1].mean(0), y)
        opt.zero_grad(); loss.backward(); opt.step()
    return _held('VmHWM')-base


def peak_float(batch):
    "The same, of inference with the float network: while it is made and runs, and while it runs"
    import torch
    from torch import nn
    from quarantion.spikes import LIF, Network
    torch.set_num_threads(1)
    torch.randn(64, 64)@torch.randn(64, 64)
    base = _clear()
    net,x = Network(nn.Linear(784,1000), LIF(), nn.Linear(1000,10), LIF(reset='none'), steps=25),torch.rand(batch, 784)
    made = _held('VmHWM')-base
    _clear()
    with torch.no_grad(): net(x)[1].sum(0).argmax(-1)
    run = _held('VmHWM')-base
    return max(made, run),run


def peak_integer(batch, path):
    "The same, with the program in `path`, without torch: while it is loaded and runs, and while it runs"
    import constriction  # noqa: F401  before the count, as torch is above
    import numpy as np
    from quarantion import load
    from quarantion.runtime import IntegerNetwork  # noqa: F401
    np.random.rand(64, 64)@np.random.rand(64, 64)
    base = _clear()
    net,x = load(path),np.random.default_rng(0).random((batch, 784), np.float32)
    loaded = _held('VmHWM')-base
    _clear()
    net.classify(x)
    run = _held('VmHWM')-base
    assert 'torch' not in sys.modules
    return max(loaded, run),run


def peak_encoder(encoder, batch=2048):
    "Bytes at the peak of writing uint8 spikes, of 25 steps or 8 of `phase`, as a share of them; and how many they are"
    import torch
    from quarantion.spikes import delta, encoders
    torch.set_num_threads(1)
    how = dict(rate=dict(seed=0), log_latency=dict(tau=12.)).get(encoder, {})
    write = getattr(encoders, encoder.removeprefix('log_'))
    def spikes(x):
        if encoder=='delta': return delta(x.expand(25, *x.shape), dtype=torch.uint8)
        return write(x, 8 if encoder=='phase' else 25, dtype=torch.uint8, **how)
    x = torch.rand(batch, 784)
    spikes(x[:4])
    base = _clear()
    size = spikes(x).nbytes
    return (_held('VmHWM')-base)/size,size


def codes(seeds, path):
    "A network for each code, number of steps and seed, on one thread; and the memory that encoders take"
    import torch
    from quarantion.bench.codes import CODE_SETTINGS, CODE_STEPS, code_run, which_code
    from quarantion.spikes.encoders import ENCODERS
    torch.set_num_threads(1)
    rows,began = [],time.perf_counter()
    for encoder in ENCODERS:
        for steps in CODE_STEPS:
            if encoder=='burst' and steps<5: continue # it has five spikes
            rows += [code_run(encoder, steps, s) for s in range(seeds)]
            accuracy = sum(r['accuracy'] for r in rows[-seeds:])/seeds
            print(f"{encoder:12} T = {steps:2}: {accuracy:.2%}, {rows[-1]['spikes'] or 0:.2f} spikes a pixel", flush=True)
    seconds,memory = time.perf_counter()-began,[]
    for encoder in ENCODERS:
        if encoder in ('direct','burst'): continue
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool: # a new process
            peak,size = pool.submit(peak_encoder, encoder).result()
        memory.append(dict(encoder=encoder, peak=peak, bytes=size))
    put(path, dict(command='python tools/measure.py codes', machine=f'{cpu()}, 1 thread', torch=torch.__version__,
                   settings=CODE_SETTINGS, seconds=seconds, memory=memory, which=which_code(rows), rows=rows))


def write_program(policy, path):
    "A program of the size of the claims'; nothing is learned, since no size depends on it"
    import torch
    from torch import nn
    from quarantion import lower, prepare, preset
    from quarantion.spikes import LIF, Network
    torch.manual_seed(0)
    net = Network(nn.Linear(784,1000), LIF(), nn.Linear(1000,10), LIF(reset='none'), steps=25)
    lower(prepare(net, preset(policy), torch.rand(16, 784))).save(path)


def claims(data_dir, times, path):
    "What the page of claims needs beside runs: classes and pixels of MNIST, and peaks of memory, each in a new process"
    import numpy as np
    from quarantion.data.idx import read_idx
    def part(kind): return read_idx(min(f for f in Path(data_dir).iterdir() if f.name.startswith(f'train-{kind}')))
    x,y,many = part('images'),part('labels'),256
    def alone(f, *args): # each in a new process, as many times as asked for
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), max_tasks_per_child=1) as pool:
            return [pool.submit(f, *args).result() for _ in range(times)]
    def inference(what, b, *job):
        peak,run = map(list, zip(*alone(*job)))
        return dict(work=f'{what}, inference', batch=b, peak=peak, run=run)
    rows = []
    with tempfile.TemporaryDirectory() as d:
        for p in 'int8','nonary':
            write_program(p, f'{d}/{p}')
            rows += [inference(f'{p} program', b, peak_integer, b, f'{d}/{p}') for b in (1,many)]
    rows += [inference('float32', b, peak_float, b) for b in (1,many)]
    for p in None,'int8':
        rows.append(dict(work=f'{p or "float32"}, training', batch=many, peak=alone(peak_training, many, p)))
    for r in rows:
        sizes = [f'{k} {sorted(r[k])[times//2]/1e6:.2f} MB' for k in ('peak','run') if k in r]
        print(f'{r["work"]:26} batch {r["batch"]:3}: {", ".join(sizes)}', flush=True)
    put(path, dict(command='python tools/measure.py claims --data-dir FOLDER', machine=f'{cpu()}, 1 thread',
                   classes=np.bincount(y).tolist(), mean=float(x.mean()/255), std=float(x.std()/255), memory=rows))


UNTIL = dict(digits='--data digits --steps 25', mnist='--data mnist --hidden 200 --steps 25 --epochs 3 --qat-epochs 2 --batch 256')


def random_program():
    "A nonary program of the size of MNIST, with random weights; about a tenth of its hidden neurons fire in a step"
    import numpy as np
    from quarantion.runtime.layer import ONE, IntLayer
    from quarantion.runtime.network import IntegerNetwork
    rng = np.random.default_rng(0)
    def layer(j, n, theta, most):
        w = rng.integers(-4, 5, (n,j)).astype(np.int8)
        return IntLayer(w, *(np.full(n, v, np.int32) for v in (0,theta*most*256,ONE*7//8)), np.ones(n), quant_max=4)
    return IntegerNetwork((layer(784, 1000, 60, 255),layer(1000, 10, 20, 1)), (784,), 25, 1/255, 0, 255)


def monitor(path, repeats=15):
    "What a monitor adds to the CPU time of `classify`, in turns in one process: a small program and a larger one, batches of 1 and of 100"
    import numpy as np
    from quarantion.data.digits import load_digits
    from quarantion.runtime.monitor import DriftMonitor
    from quarantion.runtime.calibration import sketch
    from quarantion.runtime.network import load
    def through(classify, drawn): # all of them, so that looks that are rare are paid for
        began = time.process_time()
        for v in drawn: classify(v)
        return time.process_time()-began
    rows,rng = [],np.random.default_rng(0)
    digits,wide = load_digits().x_test.numpy(),rng.random((600,784))*(rng.random((600,784))<.2)
    for name,net,x in (('digits',load(MEASURED/'digits.safetensors'),digits),('784-1000-10, random weights',random_program(),wide)):
        kept = sketch(net, x[:256])
        for b in (1,100):
            drawn,m = [x[rng.integers(0, len(x), b)] for _ in range(1024 if b==1 else 41)],DriftMonitor(net, kept)
            unchecked = lambda v: type(net).classify.__wrapped__(net, v)
            calls,took = (net.classify,unchecked,m.classify),np.empty((repeats,3))
            for i in range(repeats):
                for k in ((0,1,2),(2,1,0))[i%2]: took[i,k] = through(calls[k], drawn)
            quarters = [np.quantile(took[:,2]/took[:,k], (.25,.5,.75)).tolist() for k in (0,1)]
            rows.append(dict(program=name, batch=b, us=1e6*float(np.median(took[:,0]))/len(drawn)/b, ratio=quarters[0][1],
                             quartiles=quarters[0][::2], unchecked=quarters[1][1], unchecked_quartiles=quarters[1][::2]))
            print(rows[-1], flush=True)
    put(path, dict(command='python tools/measure.py monitor', machine=f'{cpu()}, one thread', rows=rows))


def each(net, x, *rules, times=3):
    "Time of one sample in seconds, batch 1, by each rule in turn: of all samples one by one, the best of a few rounds"
    best = [float('inf')]*len(rules)
    for _ in range(times):
        for i,until in enumerate(rules):
            began = time.perf_counter()
            for v in x: net.classify(v[None], until=until)
            best[i] = min(best[i], (time.perf_counter()-began)/len(x))
    return best


def early_row(net, name, until, x, y):
    "What `until` came to on samples that nothing was chosen from"
    from quarantion.runtime.until import early
    e,want = early(net, x, until),net.classify(x)
    took,best = each(net, x[:300], until, None)
    row = dict(until=name, samples=len(x), changed=int((e.said!=want).sum()), steps=float(e.steps.mean()), of=net.steps,
               accuracy=float((e.said==y).mean()), accuracy_all=float((want==y).mean()), us=took*1e6, us_all=best*1e6)
    print(f"{name:8} {row['steps']:.2f} of {net.steps} steps, {row['changed']} of {len(x)} changed, "
          f"{row['us']:.0f} against {row['us_all']:.0f} µs", flush=True)
    return row


def until_rows(job, seed, data_dir):
    "A run, its margins calibrated on 10,000 training samples or all, and what they come to on the held-out ones"
    from dataclasses import asdict
    from quarantion.runtime.network import load
    from quarantion.runtime.until import margin_for
    from quarantion.train.job import load_data, settings
    with tempfile.TemporaryDirectory() as out:
        where = ['--data-dir',data_dir] if 'mnist' in job else []
        quarantion('run', *job.split(), *where, '--policy', 'nonary', '--seed', str(seed), '--out', out,
                   check=True, capture_output=True)
        run = next(Path(out).iterdir())
        net,split = load(run/'integer.safetensors'),load_data(settings(run))
    (x,_,xt,yt),rows = (v.numpy() for v in (split.x_train,split.y_train,split.x_test,split.y_test)),[]
    for agreement in (.99,.995,.999,1.):
        m = margin_for(net, x[:10_000], agreement)
        rows.append(early_row(net, f'{agreement:.1%}', m, xt, yt)|dict(margin=asdict(m)))
    return [r|dict(seed=seed) for r in (*rows,early_row(net, 'proved', 'proved', xt[:1000], yt[:1000]))]


def until(a, path):
    "Digits and MNIST, each with every seed; no MNIST where there is no folder"
    out = dict(command='python tools/measure.py until --data-dir FOLDER', machine=f'{cpu()}, 1 thread', policy='nonary')
    for name,job in UNTIL.items():
        if name=='mnist' and not a.data_dir: continue
        out[name] = dict(run=f'quarantion run {job}', rows=[])
        for s in range(min(a.seeds, 2)):
            out[name]['rows'] += until_rows(job, s, a.data_dir)
            put(path, out)


def frontier_float(values, out):
    "Train the float network that policies share"
    import torch
    from quarantion.train.config import Config
    from quarantion.train.job import load_data, start, train
    torch.set_num_threads(1)
    cfg,began = Config(**values),time.perf_counter()
    run = start(cfg, out)
    *_,accuracy = train(run, load_data(cfg))
    took = time.perf_counter()-began
    print(f'float    max_rate {cfg.max_rate:g} seed {cfg.seed}: {accuracy:.2%}, {took:.0f} s', flush=True)
    return run


def codes_of(q):
    "Tensors of a network that is frozen: the real weights are not needed any more"
    return {k:v for k,v in q.state_dict().items() if not k.endswith('weight.original')}


def frontier_train(values, trained, folder):
    """Go on from the run `trained` of a float network, freeze, and compare the program in memory with the network.

    Every held-out sample is compared. Writes the codes and what came out, `folder`/NAME.safetensors."""
    import torch
    from safetensors.numpy import save
    from quarantion.files import save_tensors
    from quarantion.quant.lowering import lower
    from quarantion.quant.proof import verify
    from quarantion.train.config import Config
    from quarantion.train.job import load_data, start, test_batches, train
    torch.set_num_threads(1)
    cfg,began = Config(**values),time.perf_counter()
    split = load_data(cfg)
    with tempfile.TemporaryDirectory() as out:
        run = start(cfg, out)
        shutil.copytree(trained/'checkpoints', run/'checkpoints')
        for part in 'metrics.jsonl','audit.jsonl': shutil.copy2(trained/part, run/part)
        net,q,float_accuracy = train(run, split)
    proof = verify(q.freeze(), lower(q), test_batches(cfg, split)) # its codes are what is kept below
    row = dict(accuracy=proof.accuracy, spike_rate=proof.spike_rate, fired=[l.fired for l in proof.layers],
        spikes=proof.spikes, mismatches=proof.mismatches, problems=proof.problems, float_accuracy=float_accuracy,
        float_bytes=len(save({k:v.cpu().numpy() for k,v in net.state_dict().items()})),
        seconds=round(time.perf_counter()-began, 1),
        machine=torch.cuda.get_device_name() if cfg.device!='cpu' else cpu(), torch=torch.__version__)
    codes = codes_of(q)
    values = {k:v for k,v in values.items() if k not in ('data_dir','device')}
    name = f'{cfg.policy}-l{cfg.l1:g}-r{cfg.max_rate:g}-s{cfg.seed}.safetensors'
    save_tensors(folder/name, codes, dict(format='quarantion.frontier', version=1, config=values, trained=row))
    print(f'{cfg.policy:8} l1 {cfg.l1:g} max_rate {cfg.max_rate:g} seed {cfg.seed}: float {float_accuracy:.2%}, '
          f'quantized {proof.accuracy:.2%}, rate {proof.spike_rate:.2%}, {proof.mismatches} mismatches, '
          f'{row["seconds"]:.0f} s', flush=True)


def frontier_prove(path, data_dir):
    "A row: write the file of a trained network, load it, and compare both on every held-out sample"
    import torch
    from quarantion.files import load_tensors
    from quarantion.quant.lowering import lower
    from quarantion.quant.network import prepare
    from quarantion.quant.proof import verify
    from quarantion.runtime.network import load, save
    from quarantion.train.config import Config, policy_named
    from quarantion.train.job import build, few, load_data, test_batches
    tensors,head = load_tensors(path, 'quarantion.frontier', 1)
    cfg = Config(**head['config'], data_dir=data_dir)
    split,trained = load_data(cfg),head['trained']
    q = prepare(build(cfg, split), policy_named(cfg.policy), few(cfg, split))
    q.load_state_dict(q.state_dict() | {k:torch.from_numpy(v) for k,v in tensors.items()})
    with tempfile.TemporaryDirectory() as out:
        save(lower(q), f'{out}/net')
        size,proof = os.path.getsize(f'{out}/net'),verify(q, load(f'{out}/net'), test_batches(cfg, split))
    row = dict(policy=cfg.policy, l1=cfg.l1, max_rate=cfg.max_rate, seed=cfg.seed, epochs=cfg.epochs,
        qat_epochs=cfg.qat_epochs, accuracy=proof.accuracy, float_accuracy=trained['float_accuracy'],
        spike_rate=proof.spike_rate, bytes=size, float_bytes=trained['float_bytes'], mismatches=proof.mismatches,
        spikes=proof.spikes, fired=[l.fired for l in proof.layers], problems=proof.problems, machine=cpu(),
        trained=trained)
    print(f'{path.stem}: {size:,} bytes, {trained["float_bytes"]/size:.1f}×, {proof.accuracy:.2%}, '
          f'rate {proof.spike_rate:.2%}, {proof.mismatches} mismatches', flush=True)
    return row


GPU_MNIST = dict(data='mnist', hidden=1000, epochs=10, qat_epochs=8, batch=256, lr=.0015, policy='nonary', seed=0)
GPU = 'tests','layers','steps','grid','own','memory','mnist','parts'


def card():
    "The GPU, its driver, and what runs on it"
    import torch
    smi = shutil.which('nvidia-smi')
    ask = [smi,'--query-gpu=driver_version','--format=csv,noheader']
    driver = subprocess.run(ask, capture_output=True, text=True).stdout.split() if smi else []
    out = dict(card=torch.cuda.get_device_name(), driver=driver[0] if driver else None, CUDA=torch.version.cuda,
               Python=platform.python_version(), torch=torch.__version__)
    return out | {n:version_of(n) for n in ('triton','snntorch','spikingjelly')} | dict(date=time.strftime('%Y-%m-%d'))


def counted(said):
    "What the last line of pytest says: how many tests ended how"
    last = (said.strip().splitlines() or [''])[-1]
    of = lambda kind: sum(int(n) for n in re.findall(rf'(\d+) {kind}', last))
    return dict(passed=of('passed'), failed=of('failed')+of('error'), skipped=of('skipped'))


def gpu_tests(files):
    "Every file of tests of the GPU, or some, each in a process of its own"
    root,rows = MEASURED.parent.parent,[]
    for f in sorted((root/'tests').glob('test_cuda*.py')):
        if files and f.name not in files: continue
        began = time.perf_counter()
        env = os.environ|dict(PYTHONPATH=os.pathsep.join(filter(None, [str(root),os.environ.get('PYTHONPATH', '')])))
        r = subprocess.run([sys.executable,'-m','pytest','-q','-p','no:cacheprovider','-rf',str(f)], cwd=root, env=env,
                           capture_output=True, text=True)
        failures = re.findall(r'^(?:FAILED|ERROR) (\S+)', r.stdout, re.M)
        took = round(time.perf_counter()-began, 1)
        rows.append(dict(file=f.name, **counted(r.stdout), failures=failures, seconds=took))
        ended = r.returncode in (0,5) or rows[-1]['failed']
        if not ended: raise SystemExit(f'{f.name}:\n{r.stdout[-2000:]}{r.stderr}')
        print(rows[-1], flush=True)
    return dict(rows=rows)


def gpu_trained(values, device, data_dir, save):
    "MNIST without the proof, which takes compiled kernels; `--from` adds it"
    import torch
    from safetensors.numpy import save as to_bytes
    from quarantion.files import save_tensors
    from quarantion.train.config import Config
    from quarantion.train.fit import evaluate
    from quarantion.train.job import load_data, start, test_batches, train
    cfg = Config(**values, device=device, data_dir=data_dir)
    split = load_data(cfg)
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        net,q,float_accuracy = train(start(cfg, out), split)
        if device=='cuda': torch.cuda.synchronize()
        seconds = time.perf_counter()-began
    accuracy = evaluate(q.freeze(), test_batches(cfg, split))['accuracy']
    if save:
        size = len(to_bytes({k:v.cpu().numpy() for k,v in net.state_dict().items()}))
        trained = dict(accuracy=accuracy, float_accuracy=float_accuracy, float_bytes=size)
        save.mkdir(parents=True, exist_ok=True)
        head = dict(format='quarantion.frontier', version=1, config=values, trained=trained)
        save_tensors(save/'gpu-mnist.safetensors', codes_of(q), head)
    return dict(seconds=seconds, test_accuracy=accuracy, mismatches=None)


def gpu_mnist(a):
    "The front page's MNIST with one seed; where kernels are not compiled, it is trained and not compared"
    from quarantion.kernels import compiled
    if not a.data_dir: return print('mnist: skipped, it takes --data-dir FOLDER')
    whole,why = all(compiled().values()),'not compared: kernels of the integer program are not compiled there'
    where = ['--policy','nonary','--seed','0','--device','cuda','--data-dir',a.data_dir]
    row = one([*MNIST.split(), *where]) if whole else gpu_trained(GPU_MNIST, 'cuda', a.data_dir, a.save)
    if not whole: print(f'mnist: trained, {why}')
    rows = json.loads((MEASURED/'mnist.json').read_text())['rows']
    stored = next(r for r in rows if (r['policy'],r['seed'])==('nonary',0))
    out = dict(command=f'quarantion run {MNIST} --seed 0 --device cuda', seconds=row['seconds'],
               accuracy=row['test_accuracy'], stored_accuracy=stored['test_accuracy'], mismatches=row['mismatches'])
    return out if whole else out|dict(why=why)


def gpu_memory():
    "Peaks of memory, where that benchmark is"
    try: from quarantion.bench.memory import bench_memory
    except ImportError: return print('memory: skipped, there is no such benchmark')
    from quarantion.bench.gpu import memory_timings
    return dict(rows=[t._asdict() for t in memory_timings(bench_memory())])


def gpu_part(part, files, a):
    "Measure a part; nothing if it cannot be"
    if part=='tests': return gpu_tests(files)
    if part=='memory': return gpu_memory()
    if part=='mnist': return gpu_mnist(a)
    if part=='grid':
        from quarantion.bench.gpu_layers import bench_grid
        speed,rows = bench_grid()
        return dict(copy=speed, rows=rows)
    if part=='parts':
        from quarantion.bench.gpu_parts import bench_parts
        return dict(rows=bench_parts())
    from quarantion.bench import gpu as page
    from quarantion.bench.own import bench_own_gpu
    rows = dict(layers=page.bench_layers, steps=page.bench_steps, own=bench_own_gpu)[part]()
    for r in rows: print(f'{r.work}, {r.who}: {r.why or f"{r.ms:.3g} ms ({r.low:.3g} to {r.high:.3g})"}', flush=True)
    return dict(rows=[r._asdict() for r in rows])


def merged(stored, part, new):
    """What is stored, with a part measured anew.

    Of tests, files that did not run now stay, if they ran on the same machine."""
    same = lambda on: {k:v for k,v in on.items() if k!='date'}
    if part=='tests' and part in stored and same(stored[part]['on'])==same(new['on']):
        ran = {r['file'] for r in new['rows']}
        rows = [*(r for r in stored[part]['rows'] if r['file'] not in ran), *new['rows']]
        new = new|dict(rows=sorted(rows, key=lambda r: r['file']))
    return stored|{part:new}


def gpu(names, a, path):
    "The parts that are named, or all; each is stored as soon as it is there"
    import torch
    files,parts = ([n for n in names if n.endswith('.py')==w] for w in (True,False))
    wrong = [p for p in parts if p not in GPU]
    if wrong: raise SystemExit(f'expected some of {" ".join(GPU)}, found {wrong[0]}')
    parts = parts or (['tests'] if files else GPU)
    known = [f.name for f in (MEASURED.parent.parent/'tests').glob('test_cuda*.py')]
    absent = [f for f in files if f not in known]
    if absent: raise SystemExit(f'expected some of {" ".join(sorted(known))}, found {absent[0]}')
    if a.data_dir and not Path(a.data_dir).is_dir(): raise SystemExit(f'--data-dir: no folder {a.data_dir}')
    stored = dict(command='python tools/measure.py gpu --data-dir FOLDER')
    if path.exists(): stored = json.loads(path.read_text())
    if a.from_: # what was trained elsewhere is proved here
        row = frontier_prove(a.from_/'gpu-mnist.safetensors', a.data_dir)
        mnist = {k:v for k,v in stored['mnist'].items() if k!='why'}
        return put(path, stored|dict(mnist=mnist|dict(accuracy=row['accuracy'], mismatches=row['mismatches'])))
    if not torch.cuda.is_available(): return print(f'there is no GPU here: skipped {" ".join(parts)}')
    for part in parts:
        began,new = time.perf_counter(),gpu_part(part, files, a)
        if new is None: continue
        stored = merged(stored, part, new|dict(on=card()))
        put(path, stored)
        print(f'{part}: {time.perf_counter()-began:.0f} s', flush=True)


CONVERT = [('digits',{},3), ('mnist',{},3), ('mnist',dict(hidden=(400,400), epochs=6),1), # data, settings, seeds
           ('mnist',dict(hidden=('conv',), epochs=4, sample=1000),1)]


def health_row(job):
    "One job of `health`, in a process of its own"
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import sick
    kind,network,seed,what = job
    f = dict(sick=sick.treat, peer=sick.peer, healthy=sick.healthy)[kind]
    began = time.perf_counter()
    return dict(kind=kind, network=network, seed=seed, what=what)|f(network, seed, what)|dict(seconds=round(time.perf_counter()-began, 1))


def health(a, path):
    "Ten sick networks of each kind, untreated, treated and in other hands, and healthy ones of every policy; goes on where it was stopped"
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import sick
    from quarantion.quant.policy import PRESETS
    policies = {'mlp':['', *PRESETS], 'conv':['', 'int8', 'nonary', 'ternary']}
    jobs = [(k,n,s,w) for s in range(a.seeds) for n in sick.NETWORKS for k,ws in
            (('sick',(*sick.TEN[n],*sick.FAILED[n])), ('peer',sick.TEN[n]), ('healthy',policies[n])) for w in ws]
    jobs = [j for j in jobs if not a.only or j[3] in a.only or j[0] in a.only or j[1] in a.only]
    rows = json.loads(path.read_text())['rows'] if path.exists() else []
    key = lambda r: (r['kind'],r['network'],r['seed'],r['what'])
    jobs = [j for j in jobs if j not in {key(r) for r in rows}]
    jobs.sort(key=lambda j: (j[1]!='conv', j[2])) # the long ones first
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        for i,job in enumerate(as_completed([pool.submit(health_row, j) for j in jobs]), 1):
            rows = sorted([*rows, job.result()], key=key)
            put(path, dict(command='python tools/measure.py health --jobs N', machine=f'{cpu()}, 1 thread a network',
                versions={n:version_of(n) for n in ('torch',)}, ten=sick.TEN, failed=sick.FAILED,
                epochs=[sick.EPOCHS,sick.QAT_EPOCHS], rows=rows))
            print(f'{i} of {len(jobs)}', *key(job.result()), job.result()['seconds'], flush=True)


SCALED = [('conv',16,0.), ('conv',32,0.), ('conv',64,0.), ('conv',16,.001), ('conv nonary',16,0.), ('conv nonary',64,0.), ('wide',8,0.), ('wide',32,0.),
          ('dense 256',8,0.), ('dense 256',32,0.), ('dense 256',64,0.), ('dense 256',8,.1), ('dense 1024',8,0.), ('dense 1024',64,0.), ('dense 1024',8,1.)]


def said_cores(device):
    "What a file of times is called after, where it is not a laptop's"
    from quarantion.bench.many import cores
    return '_gpu' if device!='cpu' else f'_{cores()}' if cores()>=8 else ''


def scaling(device, path):
    "Steps of one process and two; the law that follows, and what it says of more; and only then these"
    import torch
    from quarantion.bench.many import Turn, code_times, cores, in_turn
    from quarantion.bench.scaling import fit, predict, spread_of, steps_of
    gpu = device!='cpu'
    room = torch.cuda.device_count() if gpu else cores()
    sizes = [n for n in (3,4) if n<=room] if gpu else [4,8] if room>=8 else [3,4] # processes share cores, and not GPUs
    how = dict(command='python tools/measure.py scaling'+' --device cuda'*gpu, torch=torch.__version__, cores=room,
               machine=torch.cuda.get_device_name() if gpu else f'{cpu()}, {room} cores',
               load=round(os.getloadavg()[0], 2)) # what else the machine did in the minute before
    torch.set_num_threads(1)
    how['codes'] = code_times()
    def turns(*kinds): return [Turn(k, b*(8 if gpu else 1), n, j, cap) for k,b,cap in SCALED for n,j in kinds]
    def rows(n, *kinds): return [r for r in in_turn(turns(*kinds), n, device=device) if not r['rank'] or not r['joined']]
    out = how|dict(fitted=rows(2, (1,False), (2,False), (2,True)))
    put(path, out)
    law = fit(steps_of(out['fitted']), spread_of(out['fitted']), room)
    asked = [r|dict(ranks=n, seconds=[[1.]]) for r in out['fitted'] if r['joined'] for n in sizes]
    if asked: asked = [r|dict(seconds=[[float(s)]]) for r,s in zip(asked, predict(law, steps_of(asked)))]
    put(path, out := out|dict(predicted=asked)) # before they are started
    put(path, out|dict(held=rows(max(sizes), (1,False), *((n,True) for n in sizes)) if sizes else []))


def meetings(a, path):
    "Ways to meet, with replicas in one process; goes on where it was stopped"
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import meetings as own
    how = dict(torch=version_of('torch'), machine=f'{cpu()}, 1 thread a job')
    was = json.loads(path.read_text()) if path.exists() else {}
    rows = was['rows'] if {k:was.get(k) for k in how}==how else []
    order,key = own.jobs(a.seeds),lambda r: tuple(r[k] for k in ('policy','ranks','parts','what','setting','seed'))
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context('spawn')) as pool:
        for job in as_completed([pool.submit(own.train, o) for o in order if o not in map(key, rows)]):
            rows = sorted([*rows, job.result()], key=lambda r: order.index(key(r)))
            put(path, dict(command='python tools/measure.py meetings --jobs N', **how, epochs=own.EPOCHS, batch=own.BATCH, rows=rows))
            print(f'{len(rows)} of {len(order)}', *key(job.result()), job.result()['seconds'], flush=True)


def links(a, path):
    "Debian's dependencies, a tenth withheld: each method, on one thread"
    from dataclasses import asdict
    import torch
    from quarantion.bench.link_sets import sets_of
    from quarantion.bench.links import links_rows
    from quarantion.bench.packages import debian_dependencies
    torch.set_num_threads(1)
    h,rows,began,least = debian_dependencies(),[],time.process_time(),5
    sets = sets_of(h, least)
    for seed in range(a.seeds):
        rows += [asdict(r) for r in links_rows(sets, seed)]
        put(path, dict(command='python tools/measure.py links', machine=f'{cpu()}, 1 thread', torch=torch.__version__,
                       packages=h.n_edges, names=h.n_nodes, least=least, sets=len(sets.those), nodes=sets.n,
                       processor_s=time.process_time()-began, rows=rows))
        print(*(f"{r['method']}, {r['wrong_sets']}: {r['auc']:.3f}" for r in rows if r['seed']==seed), sep='; ', flush=True)


def likeness(a, path):
    "What Debian's packages need, beside what models draw, on one thread"
    from dataclasses import asdict
    import torch
    from quarantion.bench.likeness import known_of, likeness_rows, package_sets
    torch.set_num_threads(1)
    text = subprocess.run(['apt-cache','dumpavail'], capture_output=True, check=True).stdout.decode(errors='replace')
    least,began = 20,time.process_time()
    h,sections = package_sets(text, least)
    rows = [asdict(r) for r in likeness_rows(h, known_of(h, sections), a.seeds)]
    put(path, dict(command='python tools/measure.py likeness', machine=f'{cpu()}, 1 thread', torch=torch.__version__,
                   least=least, edges=h.n_edges, nodes=h.n_nodes, members=len(h.members),
                   processor_s=time.process_time()-began, rows=rows))


def convert(a, path):
    "ReLU networks that become spikes, beside SpikingJelly, on one thread; no MNIST where there is no folder"
    from dataclasses import asdict
    import torch
    from quarantion.bench.convert import CONVERT_SETTINGS, CONVERT_STEPS, convert_rows
    from quarantion.data.sets import load_split
    torch.set_num_threads(1)
    rows,began = [],time.perf_counter()
    for data,settings,seeds in CONVERT:
        if data=='mnist' and not a.data_dir: continue
        split = load_split(data, a.data_dir if data=='mnist' else '')
        most = 64 if settings.get('hidden')==('conv',) else 256
        for s in range(min(seeds, a.seeds)):
            for r in convert_rows(data, split, s, tuple(t for t in CONVERT_STEPS if t<=most), **settings):
                rows.append(asdict(r))
                said = f'{r.work}, seed {s}, {r.who} {r.how}, T = {r.steps}: {r.accuracy:.2%}'
                print(f'{time.perf_counter()-began:5.0f} s  {said}', flush=True)
            versions = {n:version_of(n) for n in ('torch','spikingjelly')}
            put(path, dict(command='python tools/measure.py convert --data-dir FOLDER', machine=f'{cpu()}, 1 thread',
                           versions=versions, settings=CONVERT_SETTINGS, seconds=time.perf_counter()-began, rows=rows))


def frontier_settings(a):
    "The settings of each network that is trained"
    shared = dict(data='mnist', data_dir=a.data_dir, hidden=1000, epochs=a.epochs, batch=256, lr=.0015, device=a.device)
    own = [(s,*t.split(':')) for s in range(a.seeds) for t in a.settings]
    return [shared | dict(qat_epochs=int(*more) if more else 12, policy=p, l1=float(l1), max_rate=float(rate), seed=s)
            for s,p,l1,rate,*more in own]


def frontier(a, path):
    "Train what `--settings` names with each seed, then write and prove the files"
    from quarantion.train.config import Config
    kind,own = multiprocessing.get_context('spawn'),('policy','l1','max_rate','seed')
    do = 'python tools/measure.py frontier'
    command = (f'{do} --seeds 3 --jobs 12 --data-dir FOLDER --device cuda --save DIR; '
               f'{do} --data-dir FOLDER --from DIR')
    with tempfile.TemporaryDirectory() as tmp:
        folder = a.from_ or a.save or Path(tmp)
        folder.mkdir(parents=True, exist_ok=True)
        if not a.from_:
            values = frontier_settings(a)
            for v in values: Config(**v) # before hours are spent
            first = {(v['max_rate'],v['seed']):v | dict(policy='float', l1=0.) for v in values}
            with ProcessPoolExecutor(a.jobs, kind) as pool:
                runs = {k:pool.submit(frontier_float, v, tmp) for k,v in first.items()}
                jobs = [pool.submit(frontier_train, v, runs[v['max_rate'],v['seed']].result(), folder) for v in values]
                for job in as_completed(jobs): job.result()
        if a.save: return
        rows = json.loads(path.read_text())['rows'] if a.from_ and path.exists() else []
        for f in sorted(folder.glob('*.safetensors')):
            row = frontier_prove(f, a.data_dir)
            others = [r for r in rows if any(r[k]!=row[k] for k in own)]
            rows = sorted([*others, row], key=lambda r: tuple(r[k] for k in own))
            put(path, dict(command=command, rows=rows))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('name', choices=[*JOBS, 'time', 'bench', 'wire', 'break-even', 'accuracy', 'claims', 'codes', 'convert', 'frontier', 'until',
                                    'text', 'words', 'route', 'kinds', 'large', 'tutorials', 'exports', 'where', 'gpu', 'bits', 'nir', 'search', 'shells', 'resonance', 'curvature', 'lattice', 'loop', 'store',
                                    'nearest', 'walk', 'tokens', 'source', 'monitor', 'phases', 'small', 'health', 'meetings', 'scaling', 'ask', 'links',
                                    'likeness', 'natural'])
    p.add_argument('--only', nargs='+', help='health: kinds, networks or ailments; wire: digits, mnist, times, moving, floors; others stay')
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--policies', nargs='+', default=['int8','int4','nonary','ternary'])
    p.add_argument('--jobs', type=int, default=1, help='runs at a time')
    p.add_argument('--out', type=Path, help='file to write')
    p.add_argument('--some', type=int, default=0, help='wire: samples of MNIST that are learned from; 0 for all; tokens: bytes of each corpus')
    p.add_argument('--run', type=Path, help='exports: a run whose program is exported, too')
    f = p.add_argument_group('frontier')
    f.add_argument('--settings', nargs='+', default=FRONTIER, metavar='POLICY:L1:MAX_RATE[:EPOCHS]',
                   help='the epochs are those of the quantized network, 12 if they are not said')
    f.add_argument('--epochs', type=int, default=10)
    f.add_argument('--data-dir', default='', help='with the files of MNIST')
    f.add_argument('--device', default='cpu')
    f.add_argument('--save', type=Path, help='folder: train only; gpu: also keep the codes of mnist')
    f.add_argument('--from', dest='from_', type=Path, help='folder: what was trained; gpu: prove mnist; nearest: vectors; resonance: a file')
    a,more = p.parse_known_args()
    more = [m for m in more if m!='--']
    if a.name=='break-even': return break_even(MEASURED.parent/'runtime'/'products.ipynb')
    if a.name=='accuracy': return accuracy(a.seeds, a.out or MEASURED/'accuracy.json')
    if a.name=='text': return text(a, a.out or MEASURED/'text.json')
    if a.name=='route': return route(a, a.out or MEASURED/'route.json')
    if a.name in ('kinds','large'): return globals()[a.name](a, a.out or MEASURED/f'{a.name}.json')
    if a.name=='source': return source(a.out or MEASURED/'tokens.json')
    if a.name=='words': return words(a, a.out or MEASURED/'words.json')
    if a.name=='codes': return codes(a.seeds, a.out or MEASURED/'codes.json')
    if a.name=='claims': return claims(a.data_dir, a.seeds, a.out or MEASURED/'claims.json')
    if a.name=='health': return health(a, a.out or MEASURED/'health.json')
    if a.name=='meetings': return meetings(a, a.out or MEASURED/'meetings.json')
    if a.name=='links': return links(a, a.out or MEASURED/'links.json')
    if a.name=='likeness': return likeness(a, a.out or MEASURED/'likeness.json')
    if a.name=='convert': return convert(a, a.out or MEASURED/'convert.json')
    if a.name=='until': return until(a, a.out or MEASURED/'until.json')
    if a.name=='frontier': return frontier(a, a.out or MEASURED/'frontier.json')
    if a.name=='small':
        import small
        return small.measure(a, cpu(), put, a.out or MEASURED/'small.json')
    if a.name=='gpu': return gpu(more, a, a.out or MEASURED/'gpu.json')
    if a.name=='exports': return exports(a.run, a.out or MEASURED/'exports.json')
    if a.name=='nir': return nir(a.out or MEASURED/'nir.json')
    if a.name=='nearest': return nearest(a, a.out or MEASURED/'nearest.json')
    if a.name=='ask':
        import asked
        return asked.measure(put, cpu(), a.out or MEASURED/'ask.json', a.from_, a.only or asked.ALL)
    if a.name=='walk': return walk(a.out or MEASURED/'walk.json')
    if a.name=='tokens': return tokens(a, a.out or MEASURED/'tokens.json')
    if a.name=='search': return search(a.out or MEASURED/'search.json')
    if a.name=='shells': return shells(a.seeds, a.out or MEASURED/'shells.json')
    if a.name=='lattice': return lattice(a.out or MEASURED/'lattice.json')
    if a.name=='curvature': return curvature(a.out or MEASURED/'curvature.json')
    if a.name=='resonance': return resonance(a.out or MEASURED/'resonance.json', a.from_)
    if a.name in ('loop','store'):
        import store
        return put(a.out or MEASURED/f'{a.name}.json', getattr(store, a.name)()|dict(machine=f'{cpu()}, {os.cpu_count()} cores'))
    if a.name=='where': return where_it_runs(a.out or MEASURED/'where.json')
    if a.name=='monitor': return monitor(a.out or MEASURED/'monitor.json')
    if a.name=='tutorials': return tutorials(a.out or MEASURED/'tutorials.json')
    if a.name=='bench': return bench(more, a.out or MEASURED/'bench.json')
    if a.name=='bits': return bits(a.seeds, a.out or MEASURED.parent.parent/'tests'/'stored'/'bits.json')
    if a.name=='wire': return wire(a, a.out or MEASURED/'wire.json')
    if a.name=='phases': return phases(a, a.out or MEASURED/'phases.json')
    if a.name=='natural': return natural(a, a.out or MEASURED/'natural.json')
    if a.name=='scaling': return scaling(a.device, a.out or MEASURED/f'scaling{said_cores(a.device)}.json')
    if a.name=='time': return clock(a.seeds, a.out or MEASURED/'time.json')
    runs = [[*JOBS[a.name], '--policy', q, '--seed', str(s), *more] for s in range(a.seeds) for q in a.policies]
    import torch
    threads = torch.get_num_threads()
    where = torch.cuda.get_device_name() if 'cuda' in more else f"{cpu()}, {threads} thread{'s'*(threads!=1)}"
    shown = [m for i,m in enumerate(more) if m!='--data-dir' and (i==0 or more[i-1]!='--data-dir')]
    path = a.out or MEASURED/f'{a.name}.json'
    path.parent.mkdir(exist_ok=True, parents=True)
    rows,command = [],' '.join(['quarantion','run',*JOBS[a.name],'--policy','POLICY','--seed','SEED',*shown])
    with ThreadPoolExecutor(a.jobs) as pool:
        for job in as_completed([pool.submit(one, r, path.parent) for r in runs]):
            rows = sorted([*rows, job.result()], key=lambda r: (a.policies.index(r['policy']), r['seed']))
            out = dict(command=command, seeds=a.seeds, machine=where, torch=torch.__version__, rows=rows)
            put(path, out) # after each run, so that none is lost
    print(path)


if __name__=='__main__': main()
