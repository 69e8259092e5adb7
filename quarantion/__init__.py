"Low-bit spiking networks that you can see into and trust"
__version__ = "0.1.0"

import sys
from importlib import import_module
from types import ModuleType

# The plan of the house: storeys from below, and in each its rooms, in the order of imports.
# A room imports only rooms before it.
STOREYS = {
    'ground: numbers, shapes, data': dict(
        checks='say what an argument should have been, and what it is',
        files='files whole or not at all, locks, logs that show tampering',
        paper='inks, axes, labels and legends: the one style of every figure',
        tables='a record as a table, stored measurements as lines and pictures',
        kernels='compiled loops on numpy buffers, for several levels of x86-64',
        nonary='balanced nonary digits: packed five to a word, and arithmetic',
        geometry='points of a grid become places on a curve, and come back',
        data='data sets and their checks'),
    'what evolves in time': dict(
        runtime='integer networks: load, prove the range, run; without torch',
        spikes='spiking neurons, networks, encoders; snnTorch and SpikingJelly',
        waves='fields on a torus and sources to fields some steps later',
        graphs='edges of any number of nodes to what flows along them'),
    'in few bits, and out': dict(
        quant='policies, observers, training with integers, lowering and its proof',
        export='a program in other languages, with the same spikes, proved'),
    'learning and remembering': dict(
        train='losses, phases, health and gates of runs that survive being killed',
        memory='texts and vectors to what is nearest, with a proof',
        language='texts to tokens, and to what comes next, in few bits'),
    'looking': dict(
        inspect='figures of arrays, inspectors, films and the report',
        bench='measurements side by side with peers',
        cli='`quarantion run`, and what one asks of a run afterwards'),
}
ROOMS = {room: says for rooms in STOREYS.values() for room,says in rooms.items()}

class _Room(ModuleType):
    "A package that imports its public names when they are first asked for"
    def __getattr__(self, name):
        if name not in self.__dict__.get('_where', ()):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        module = import_module(f'{self.__name__}.{self._where[name]}')
        room = self._where[name]==name # or what a module holds
        setattr(self, name, module if room else getattr(module, name))
        return self.__dict__[name]

    def __dir__(self): return sorted({*self.__dict__, *self._where})

def _room(package, **modules):
    "Give `package` the names that `modules` hold, as in `neuron='lif LIF'`, and its sentence; returns its `__all__`"
    room = sys.modules[package]
    room._where = {n:m for m,names in modules.items() for n in names.split()}
    room.__class__ = _Room
    room.__doc__ = ROOMS.get(package.rpartition('.')[2], room.__doc__)
    return list(room._where)

_NAMES = dict(runtime='load', spikes='from_snntorch to_snntorch from_spikingjelly',
              quant='preset Policy prepare lower verify', checks='CheckError')
__all__ = _room(__name__, **{r:f'{_NAMES.get(r, "")} {r}' for r in ROOMS if r!='cli'}, **{'spikes.own':'neuron'})
