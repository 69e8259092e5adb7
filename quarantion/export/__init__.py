"A program leaves the house: the same spikes in other languages, proved"
from quarantion import _room

__all__ = _room(__name__, c='CText prove_c to_c', cortex_m='Board prove_board', js='JsText prove_js to_js',
                wasm='prove_wasm to_wasm', onnx='OnnxFile from_onnx prove_onnx to_onnx',
                events='EventFiles to_events from_events prove_events', nir_events='to_nir_events read_nir_events',
                nir='NirFile NirProof from_nir prove_nir to_nir', graphs='NirRun',
                networks_from_nir='network_from_nir',
                harness='compare_c', proof='ExportProof check_free write_proof', cost='cost_of plot_cost',
                targets='targets_of', card='model_card', hub='from_hub prove_hub to_hub',
                energy='energy_of dense_energy break_even EnergyModel HOROWITZ',
                **{'parts.graph':'read_nir'})
