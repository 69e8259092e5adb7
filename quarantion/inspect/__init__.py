"Figures of arrays, the live inspector and the report"
from quarantion import _room

__all__ = _room(__name__,
    figures='plot_raster plot_membrane plot_readout plot_observer plot_codes plot_curve plot_confusion',
    spike_film='film follow', event_film='EventStage',
    membrane_inspector='MembraneInspector', observer_inspector='ObserverInspector',
    whatif='what_if plot_what_if', membrane_traces='plot_traces plot_occupancy plot_spread',
    grid_fit='plot_grid plot_history fit_grid', report='write_report', widget='Inspector',
    spike_explorer='SpikeExplorer SurrogateExplorer', nonary_explorer='NonaryExplorer',
    run_compare='RunCompare SizeTree', tries='plot_tries', waves='plot_field plot_energy plot_dispersion plot_locality',
    wave_inspector='WaveInspector', shells='plot_shells', lattice='plot_roots plot_rate_distortion',
    nearest='plot_proof plot_frontier', merges='plot_merges', graphs='plot_hull plot_bipartite plot_incidence',
    graph_flow='plot_flow plot_rounds', graph_tails='plot_tails',
    graph_texts='to_mermaid to_tikz to_svg', search_explorer='SearchExplorer', ask_explorer='AskExplorer',
    token_inspector='TokenInspector plot_tokens', regimes='plot_regime',
    health='plot_health plot_signal', health_inspector='HealthInspector')
