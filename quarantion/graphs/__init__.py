"Edges of any number of nodes to what flows along them"
from quarantion import _room

__all__ = _room(__name__, store='Hypergraph hypergraph components save_hypergraph load_hypergraph',
                curvature='pairs_of ollivier edge_curvature forman',
                spectrum='zhou_factor spectra decay')
