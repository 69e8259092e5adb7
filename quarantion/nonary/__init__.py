"Balanced nonary digits: nine levels, packed five to a uint16, and arithmetic of numbers that they write"
from quarantion import _room

__all__ = _room(__name__, nits='quantize_nits nit_edges pack unpack pack_planar unpack_planar',
                companding='encode_complex compand expand',
                arithmetic='to_digits from_digits add subtract multiply shift dot')
