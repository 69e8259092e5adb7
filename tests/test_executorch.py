"ExecuTorch runs an integer program of dense layers to the bit, written in operations that it has: what a `.pte` of one would be made of"
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('executorch', reason='no executorch (pip install --no-deps executorch torchao==0.18 mpmath ruamel.yaml tabulate pandas pyyaml)')
from quarantion.runtime.layer import ONE, IntLayer
from quarantion.runtime.network import IntegerNetwork

pytestmark = pytest.mark.filterwarnings('ignore')
UP = 2**48 # more than |v·m|: a division that cuts towards 0 then goes down, as a shift does, which its core has not


class Unrolled(torch.nn.Module):
    "Steps one by one, in int64"
    def __init__(self, net):
        super().__init__()
        self.net = net
        for i,l in enumerate(net.layers):
            for k in ('weight','bias','theta','leak'): self.register_buffer(f'{k}{i}', torch.from_numpy(getattr(l, k).astype(np.int64)))

    def forward(self, codes):
        layers = self.net.layers
        v,out = [torch.zeros(codes.shape[0], len(l.weight), dtype=torch.int64) for l in layers],[]
        for _ in range(self.net.steps):
            x = codes
            for i,l in enumerate(layers):
                weight,bias,theta,leak = (getattr(self, f'{k}{i}') for k in ('weight','bias','theta','leak'))
                left = torch.div(v[i]*leak+ONE//2+UP, ONE, rounding_mode='trunc')-UP//ONE
                u = left+torch.mm(x, weight.T)*2**l.guard+bias
                fired = u>theta
                v[i] = torch.where(fired, u-theta if l.reset=='subtract' else torch.zeros_like(u), u) if l.reset!='none' else u
                x = fired.to(torch.int64)
                out += [x,v[i]]
        return tuple(out)


def program(reset, steps=4):
    rng = np.random.default_rng(0)
    def layer(c, j, reset):
        full = lambda v: np.full(c, v, np.int32)
        return IntLayer(rng.integers(-4, 5, (c,j)).astype(np.int8), full(99), full(9*256), full(.9*ONE), np.full(c, 1/9/256), guard=8, reset=reset)
    return IntegerNetwork((layer(50, 40, reset),layer(10, 50, 'none')), (40,), steps, 1., 0, 1)


@pytest.mark.parametrize('reset', ['subtract','zero'])
def test_every_spike_and_membrane(reset):
    from executorch.exir import to_edge
    from executorch.runtime import Runtime
    net,x = program(reset),np.random.default_rng(1).integers(0, 2, (1000,40))
    codes = torch.from_numpy(x)
    made = torch.export.export(Unrolled(net).eval(), (codes[:5],), dynamic_shapes=({0:torch.export.Dim('batch', min=1, max=1000)},))
    out = Runtime.get().load_program(to_edge(made).to_executorch().buffer).load_method('forward').execute([codes])
    out = [o.numpy() for o in out]
    for i,r in enumerate(net.record(x.astype(float))):
        assert r.spk.any() and (np.stack(out[2*i::4])==r.spk).all() and (np.stack(out[2*i+1::4])==r.mem).all()


def test_our_own_operators_are_none_of_its_own():
    from executorch.exir import to_edge
    from quarantion.spikes.network import Network
    from quarantion.spikes.neuron import LIF
    net = Network(torch.nn.Linear(4, 3), LIF(), in_shape=(4,), steps=4).eval()
    made = to_edge(torch.export.export(net, (torch.rand(2, 4),)))
    with pytest.raises(RuntimeError, match='Missing out variants.*quarantion::lif'): made.to_executorch()
