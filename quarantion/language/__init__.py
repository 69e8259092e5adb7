"Texts to tokens, and to what comes next, in few bits"
from quarantion import _room

__all__ = _room(__name__, attention='attend', model='KernelLM small bits_per_byte')
