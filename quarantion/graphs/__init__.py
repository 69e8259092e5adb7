"Edges of any number of nodes to what flows along them"
from quarantion import _room

__all__ = _room(__name__, store='Hypergraph hypergraph components save_hypergraph load_hypergraph',
                exchange='from_networkx to_networkx from_hypernetx to_hypernetx from_xgi to_xgi from_pyg to_pyg '
                         'read_hif write_hif', walk='fire raster')
