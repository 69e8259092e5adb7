"Balanced nonary digits: nine levels, packed five to a uint16, and arithmetic of numbers that they write"
from quarantion import _room

__all__ = _room(__name__, nits='quantize pack unpack', encoders='encode_uniform encode_complex compand expand',
                arithmetic='to_digits from_digits add subtract multiply shift dot')
