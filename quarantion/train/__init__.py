"Training runs that survive being killed"
from quarantion import _room

__all__ = _room(__name__, losses='rate_ceiling code_l1 ste_codes', fit='train_epoch evaluate', job='Config', files='check_manifest')
