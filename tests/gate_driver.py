"Kill runs that a gate stops, at moments of which each is worth a file or a line, and resume them: does each stand where one stands that was left alone? Prints one JSON object."
import hashlib, json, sys
from functools import partial
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from forked import dies, fork
from quarantion.files import Lock, check_audit, read_jsonl, sha256
from quarantion.train.config import Config
from quarantion.train.job import finish, load_data, start, train
from quarantion.train.overrides import GateFailed, standing
from quarantion.train.rollback import LAST, PASSED

torch.set_num_threads(1) # a forked child cannot ask OpenMP for more
out,SPLIT = Path(sys.argv[1]),load_data(Config())
CFG = Config(epochs=3, qat_epochs=2, hidden=8, steps=4, batch=512, gates='lr>=0.00027@end of each phase', on_gate='rollback') # the second phase ends below it


def learn(run, reason=''):
    "Train; 1 where a gate stops it"
    try:
        with Lock(run): finish(run, SPLIT, *train(run, SPLIT, override=reason))
    except GateFailed: return 1

def child(run, reason='', prepare=lambda: None): return fork(partial(learn, run, reason), prepare)


def facts(run):
    "What a run is when it stands: tensors of its files, what happened, and numbers; when it was resumed and how long it took aside"
    data = lambda p: (b := p.read_bytes())[8+int.from_bytes(b[:8], 'little'):]
    sha = {p.relative_to(run).as_posix():hashlib.sha256(data(p)).hexdigest() for p in run.rglob('*.safetensors')}
    said = [[l['event'], {k:v for k,v in l['facts'].items() if k not in ('config','checkpoint')}] for l in read_jsonl(run/'audit.jsonl')]
    lines = [{k:v for k,v in m.items() if k!='time_s'} for m in read_jsonl(run/'metrics.jsonl')]
    return json.loads(json.dumps(dict(files=sha, said=[s for s in said if s[0]!='resumed'], metrics=lines)))


def one(i, name, n, how, *reasons):
    "Train with each reason, the last time to be killed, and resume without one"
    run = start(CFG, out/str(i))
    for r in reasons[:-1]: assert child(run, r)==1
    killed,again = child(run, reasons[-1], dies(name, n, how)),child(run)
    check_audit(run/'audit.jsonl')
    back = [l['facts']['checkpoint'] for l in read_jsonl(run/'audit.jsonl') if l['event']=='rolled back']
    whole = standing(run) and (run/LAST).read_bytes()==(run/PASSED).read_bytes()
    return dict(moment=f'{how} {n} of {name}', killed=killed, again=again, once=back==[sha256(run/PASSED)], bytes=bool(whole), same=facts(run)==(ENDED if again==0 else WHOLE))


whole = start(CFG, out/'whole')
assert child(whole)==1
WHOLE = facts(whole)
assert child(whole, 'to see')==0
ENDED = facts(whole)
back = [('passed.safetensors',1,'done'), ('audit.jsonl',7,'torn'), ('audit.jsonl',7,'after'), # the seventh line says that it goes back
        ('last.safetensors',5,'after'), ('last.safetensors',5,'done'), ('metrics.jsonl',6,'after')] # after four epochs, and cut after five lines
on = [('audit.jsonl',1,'after')]
if sys.argv[2:]==['full']:
    back += [('passed.safetensors',1,'before'), ('passed.safetensors',1,'after'), ('audit.jsonl',7,'before'), ('last.safetensors',5,'before'), ('metrics.jsonl',6,'before'), ('metrics.jsonl',1,'done')]
    on += [('audit.jsonl',1,'torn'), ('audit.jsonl',2,'after'), ('last.safetensors',1,'after'), ('last.safetensors',2,'done')]
with ThreadPoolExecutor(2) as two:
    results = [*two.map(lambda k: one(f'back{k[0]}', *k[1], ''), enumerate(back)), *two.map(lambda k: one(f'on{k[0]}', *k[1], '', 'to see'), enumerate(on))]
print(json.dumps(dict(back=results[:len(back)], on=results[len(back):], standing=[s[0] for s in WHOLE['said']], ended=[s[0] for s in ENDED['said']])))
