"Fields on a torus and sources to fields some steps later"
from quarantion import _room

__all__ = _room(__name__, torus='Torus new_field cell_index wrap save_field load_field',
                law='Medium Sources tones step_limit grid_omega wave_loop', propagate='watch')
