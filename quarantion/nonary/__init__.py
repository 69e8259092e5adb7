"Balanced nonary digits: nine levels, packed five to a uint16"
from quarantion import _room

__all__ = _room(__name__, nits='quantize pack unpack')
