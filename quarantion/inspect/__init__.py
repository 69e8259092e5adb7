"Figures of arrays, the live inspector and the report"
from quarantion import _room

__all__ = _room(__name__, figures='plot_raster plot_membrane plot_readout plot_observer plot_codes plot_curve plot_confusion', moving='film follow', membrane='MembraneInspector', observe='ObserverInspector', whatif='what_if plot_what_if', traces='plot_traces plot_occupancy plot_spread', grids='plot_grid plot_history fit_grid', report='write_report',
                widget='Inspector', explore='SpikeExplorer SurrogateExplorer', numbers='NonaryExplorer', compare='RunCompare SizeTree')
