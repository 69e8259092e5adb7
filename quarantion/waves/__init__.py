"Fields on a torus and sources to fields some steps later"
from quarantion import _room

__all__ = _room(__name__, torus='Torus new_field cell_index wrap save_field load_field',
                law='Medium Sources tones step_limit grid_omega wave_loop',
                energy='field_energy', propagate='propagate_field watch', mix='add_waves heterodyne chord hear_chord',
                levels='Levels to_levels propagate_levels nit_view save_levels load_levels',
                whole='to_whole from_whole propagate_whole whole_bound save_whole load_whole',
                sparse='new_sparse add_cells activate ready find_cells remove_cells neighbours from_field to_field '
                       'save_sparse load_sparse',
                rows='propagate_sparse sparse_limit sparse_energy',
                traps='Traps Trapping add_traps release lifetime target_of slow peaks propagate_trapped',
                echo='new_echo remember echo_of mix_echo')
