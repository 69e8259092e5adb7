"Edges of any number of nodes to what flows along them"
from quarantion import _room

__all__ = _room(__name__, store='Hypergraph hypergraph components save_hypergraph load_hypergraph',
                exchange='from_networkx to_networkx from_hypernetx to_hypernetx from_xgi to_xgi from_pyg to_pyg '
                         'read_hif write_hif',
                walk='fire raster', curvature='pairs_of ollivier edge_curvature forman',
                spectrum='zhou_factor spectra decay', ricci='ricci_flow flow_communities',
                generate='core_nodes structure_attributes Generator fit_generator',
                likeness='shape_of shape_gaps rewired chung_lu',
                layers='Incidence HypergraphConv HypergraphAttention')
