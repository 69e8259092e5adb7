"Integer networks: load, prove the range, run; without torch"
from quarantion import _room

__all__ = _room(__name__, coding='entropy_bytes', layer='IntLayer Op Record', network='IntegerNetwork load save sizes',
                state='State')
