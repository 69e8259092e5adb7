"Quantization: policies, training with integers, lowering and its proof"
from quarantion import _room

__all__ = _room(__name__, level_sets='levels quantize max_scale percentile_scale mse_scale LevelTable',
                membranes='uniform_levels centred_levels clipped_levels fitted_levels lif_levels Rounding',
                fake='fake_quantize fake_quantize_observed',
                observers='MinMax MovingAverage PerStep find_observers',
                histograms='Histogram Percentile mse_range percentile_range entropy_range',
                policy='Policy preset', weights='quantize_weights materialize',
                lattice='Lattice lattice_codes save_lattice load_lattice', network='prepare QuantNetwork',
                pruning='activity_scores magnitude_scores keep_top remove_neurons zero_smallest risen hold_zeros '
                        'free_zeros',
                calibration='calibrate equalize correct_bias adaround', lowering='lower',
                brevitas='from_brevitas', qat='from_qat', drift='Change',
                counts='Comparison LayerProof', proof='verify Proof Gates Gate',
                sensitivity='hessian_traces hawq_sensitivity sqnr_sensitivity agreement_sensitivity '
                            'allocate plot_sensitivity',
                advice='recommend lint')
