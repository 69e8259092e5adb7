"Integer networks: load, prove the range, run; without torch"
from quarantion import _room

__all__ = _room(__name__, calibration='Sketch sketch save_sketch load_sketch', coding='entropy_bytes', layer='IntLayer Op Record',
                monitor='DriftMonitor', network='IntegerNetwork load save sizes',
                state='State')
