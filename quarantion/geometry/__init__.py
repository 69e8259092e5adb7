"Points of a grid become places on a curve, and come back"
from quarantion import _room

__all__ = _room(__name__, order='to_curve from_curve neighbour_gaps causal_order')
