"Measurements, side by side"
from quarantion import _room

__all__ = _room(__name__, measure='interleaved compare verdict', lif='bench_lif bench_bptt')
