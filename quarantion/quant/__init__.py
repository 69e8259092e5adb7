"Quantization: policies, training with integers, lowering and its proof"
from quarantion import _room

__all__ = _room(__name__, levels='levels quantize max_scale percentile_scale mse_scale', observers='MinMax MovingAverage', policy='Policy preset', prepare='prepare', lower='lower', verify='verify')
