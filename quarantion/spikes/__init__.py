"Spiking neurons, networks and encoders"
from quarantion import _room

__all__ = _room(__name__, encoders='direct rate latency delta population thermometer phase burst encode decode',
                codes='CodeStats code_stats', surrogate='spike',
                buffers='release keep_at_most', neuron='Gradient lif lif_spikes lif_counts LIF RecurrentLIF',
                synaptic='Synaptic RecurrentSynaptic neurons_with', parameters='learnable settle',
                network='Network', stage='stages Stage', stats='spike_rate silent agreement',
                snntorch='from_snntorch to_snntorch', spikingjelly='from_spikingjelly',
                states='from_snntorch_state', pickles='read_state',
                convert='from_ann hybrid_from_ann')
