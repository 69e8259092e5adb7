"Vectors to the nearest ones, with a proof, in a few bits"
from quarantion import _room

__all__ = _room(__name__, codes='unit_rows new_axes best_code encode_rows', exact='Index load_index')
