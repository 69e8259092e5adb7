"Losses, phases, health and gates of runs that survive being killed"
from quarantion import _room

__all__ = _room(__name__, losses='rate_ceiling code_l1 ste_codes loss_of',
                distillation='distill_scores distill_rates distill_membranes', fit='train_epoch evaluate',
                config='Config setting', recipes='recipe_of', rundir='check_manifest read_run Run',
                space='space_of read_space validated', tune='search summed_up', meetings='two_level outer_step drift',
                canon='canon_of Canon', reproduce='promote reproduced',
                ranks='ranks_now world agreed', hooks='Wire', wide='sharded gathered',
                shards='save_shards load_shards')
