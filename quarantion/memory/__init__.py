"Texts and vectors to what is nearest, with a proof"
from quarantion import _room

__all__ = _room(__name__, corpus='Corpus read_corpus')
