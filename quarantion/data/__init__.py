"Data sets and their checks"
from quarantion import _room

__all__ = _room(__name__, samples='Samples Split DataSet hold_out', digits='load_digits', idx='load_mnist load_idx', sets='load_split',
                events='Recordings make_events to_frames by_window by_steps by_count by_equal',
                event_files='read_recording load_recordings load_gestures from_tonic', shd='load_shd',
                folders='load_npy load_events', hdf5='read_hdf5', apart='read_apart',
                moving='moving_digits', quality='check survey')
