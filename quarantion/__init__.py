"Low-bit spiking networks that you can see into and trust"
__version__ = "0.1.0"

import sys
from importlib import import_module
from types import ModuleType

class _Room(ModuleType):
    "A package that imports its public names when they are first asked for"
    def __getattr__(self, name):
        if name not in self.__dict__.get('_where', ()): raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        module = import_module(f'{self.__name__}.{self._where[name]}')
        setattr(self, name, module if self._where[name]==name else getattr(module, name)) # a room of a package, or what a module holds
        return self.__dict__[name]

    def __setattr__(self, name, value):
        # Python binds the module `quant/prepare.py` to `prepare` when it is imported; the function of that name stays
        if isinstance(value, ModuleType) and name in self.__dict__.get('_where', ()): value = getattr(value, name, value)
        super().__setattr__(name, value)

    def __dir__(self): return sorted({*self.__dict__, *self._where})

def _room(package, **modules):
    "Give `package` the names that `modules` hold, as in `neuron='lif LIF'`; returns its `__all__`"
    room = sys.modules[package]
    room._where = {n:m for m,names in modules.items() for n in names.split()}
    room.__class__ = _Room
    return list(room._where)

__all__ = _room(__name__, runtime='load runtime', spikes='from_snntorch to_snntorch spikes', quant='preset Policy prepare lower verify quant',
                checks='CheckError checks', files='files', kernels='kernels', nonary='nonary', data='data', train='train', inspect='inspect')
