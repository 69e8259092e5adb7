"A program leaves the house: the same spikes in other languages, proved"
from quarantion import _room

__all__ = _room(__name__, c='CText prove_c to_c', proof='ExportProof write_proof', wasm='prove_wasm')
