"Data sets and their checks"
from quarantion import _room

__all__ = _room(__name__, split='Split DataSet hold_out', digits='load_digits', idx='load_mnist', sets='load_split')
