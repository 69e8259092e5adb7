"Measurements, side by side"
from quarantion import _room

__all__ = _room(__name__, measure='interleaved race compare', lif='bench_lif', bptt='bench_bptt',
                nonary='bench_nonary', levels='bench_levels', fakequant='bench_fakequant',
                events='bench_events measure_break_even', gpu='bench_gpu', exported='bench_exported',
                accuracy='bench_accuracy contenders accuracy_table runs_table plot_accuracy',
                train='bench_train', frontier='reached frontier_table plot_frontier')
