"Texts to tokens, and to what comes next, in few bits"
from quarantion import _room

__all__ = _room(__name__, basins='basins_of ppmi_vectors merged_basin',
                coherence='perplexity_per_byte distinct repetition adjacent_similarity')
