"Compiled loops on numpy buffers, for several levels of x86-64"
from quarantion import _room
from quarantion.kernels.isa import folders

__path__[:] = folders() # before any kernel is imported
__all__ = _room(__name__, isa='level folders supported available compiled')
