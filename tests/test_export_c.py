"""Random networks of every kind leave as C: compiled with every warning an error, with sanitizers that watch, run beside the program,
and compared in every spike, membrane and decision. 200 networks here, many in one translation unit, 20 of them watched; more under soak"""
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import kinds, network, sample

from quarantion.checks import CheckError
from quarantion.export import proof as exported
from quarantion.export.c import CFLAGS, compare_c, prove_c, to_c
from quarantion.export.proof import run_tool, write_proof
from quarantion.runtime.layer import IntLayer
from quarantion.runtime.network import IntegerNetwork

GCC,HERE = shutil.which('gcc'),Path(__file__).parent
needs_gcc = pytest.mark.skipif(GCC is None, reason='no gcc (apt-get install gcc)')
WATCHED = (*CFLAGS[:-1], '-O1', '-fsanitize=undefined,address', '-fno-sanitize-recover=all')


def many(folder, nets, flags, **how):
    "Networks in one translation unit, and what runs the k-th of them"
    parts = []
    for k,net in enumerate(nets):
        text = to_c(net, f'n{k}', **how)
        text.save(folder)
        parts.append(f'#include "n{k}.c"\n#define main main{k}\n{text.main}\n#undef main\n')
    calls = '\n'.join(f'    if (k == {k}) return main{k}();' for k in range(len(nets)))
    (folder/'all.c').write_text(''.join(parts)+f'#include <stdlib.h>\nint main(int c, char **v) {{\n    int k = c > 1 ? atoi(v[1]) : -1;\n{calls}\n    return 2;\n}}\n')
    run_tool([GCC, *flags, folder/'all.c', '-o', folder/'all'])
    return [lambda data,k=k: run_tool([folder/'all', k], data) for k in range(len(nets))]


def prove_many(folder, nets, rng, n, flags=WATCHED, **how):
    fired = 0
    for k,(net,run) in enumerate(zip(nets, many(folder, nets, flags, **how))):
        proof = compare_c(net, sample(rng, net, n), dict(gcc=run))
        assert proof.proved, (k, net, proof)
        fired += 0<proof.fired<proof.spikes
    return fired


@needs_gcc
def test_random_networks_through_c(tmp_path):
    "Watched by sanitizers"
    rng = np.random.default_rng(0)
    nets = [network(rng) for _ in range(20)]
    assert len({*kinds(nets)})>=33, sorted({*kinds(nets)})
    assert prove_many(tmp_path, nets, rng, 20)>=14


@needs_gcc
@pytest.mark.parametrize('group', range(4))
def test_200_random_networks_through_c(tmp_path, group):
    rng = np.random.default_rng(1000+group)
    assert prove_many(tmp_path, [network(rng) for _ in range(50)], rng, 3, (*CFLAGS[:-1],'-O0'))>=30


@needs_gcc
def test_the_same_with_places_of_weights_and_a_sum_over_constants(tmp_path):
    rng = np.random.default_rng(1)
    assert prove_many(tmp_path, [network(rng) for _ in range(8)], rng, 20, sparse=True, crc=True)>=5


@needs_gcc
@pytest.mark.soak
@pytest.mark.parametrize('group', range(10))
def test_more_random_networks_through_c(tmp_path, group):
    rng = np.random.default_rng(100+group)
    nets = [network(rng) for _ in range(20)]
    assert prove_many(tmp_path, nets, rng, 100)>=12
    assert prove_many(tmp_path, nets, rng, 100, sparse=True, crc=True)>=12


@needs_gcc
def test_one_bit_of_a_constant_that_changed_is_found():
    "Each of them; the number in the header is that of the constants that were written"
    rng = np.random.default_rng(2)
    l = IntLayer(rng.integers(-4, 5, (7,9)).astype(np.int8), np.arange(7, dtype=np.int32)*300, np.arange(40, 47, dtype=np.int32), np.full(7, 60000, np.int32), np.ones(7))
    net = IntegerNetwork((l,), (9,), 5, 1., 0, 1)
    text = to_c(net, crc=True)
    assert prove_c(net, text, rng.integers(0, 2, (20,9))).proved
    arrays = re.findall(r'(static const \w+ \w+\[\d+\] = \{\s*)(\d+)', text.source)
    assert len(arrays)==3
    for before,number in arrays:
        wrong = replace(text, source=text.source.replace(before+number, before+str(int(number)^1), 1))
        with pytest.raises(CheckError, match='expected exit code 0, found 2'): prove_c(net, wrong, np.ones((1,9)))


def small(**kw):
    l = IntLayer(np.array([[3,-2,1],[1,4,0]], np.int8), np.array([5,0], np.int32), np.array([40,60], np.int32), np.full(2, 60000, np.int32), np.ones(2), guard=3)
    return IntegerNetwork((l,), (3,), 5, 1., 0, 3, **kw)


def drawn(): return np.random.default_rng(0).integers(0, 4, (1000,3))


@needs_gcc
def test_a_threshold_that_is_one_too_large_is_found():
    net = small()
    for n in range(2):
        theta = net.layers[0].theta.copy()
        theta[n] += 1
        proof = prove_c(net, to_c(replace(net, layers=(replace(net.layers[0], theta=theta),))), drawn())
        assert not proof.proved and all(proof.mismatches.values()) and (proof.first['layer'],proof.first['neuron'])==(0,n)
    proof = prove_c(net, to_c(net), drawn())
    assert proof.proved and proof.spikes==10000 and 0<proof.fired<10000


@needs_gcc
def test_the_place_is_that_of_the_first_difference(tmp_path):
    "In a later layer of a network with all that a layer may have"
    rng = np.random.default_rng(7)
    while True:
        net = network(rng)
        if len(net.layers)==3 and not net.batch_first and net.layers[2].reset=='subtract' and net.record(np.full((1,*net.in_shape), net.in_max))[2].spk.any(): break
    last = net.layers[2]
    wrong = replace(net, layers=(*net.layers[:2], replace(last, bias=last.bias+np.eye(len(last.bias), dtype=np.int32)[-1])))
    run, = many(tmp_path, [wrong], CFLAGS)
    proof = compare_c(net, sample(rng, net, 20), dict(gcc=run))
    assert not proof.proved and proof.first['layer']==2 and proof.first['step']==0
    assert proof.first['neuron']//(net.plan[2].neurons//len(last.bias))==len(last.bias)-1


@needs_gcc
@pytest.mark.parametrize('title', ['*/ int x;', 'a\\\nb', '??/', '</script>', '"\'', '\u202eevil', '../../up', 'int', 'net */'])
def test_a_name_from_anywhere_stays_in_its_comment(title):
    text = to_c(small(), title=title)
    assert text.header.isascii() and text.header.count('*/')==to_c(small()).header.count('*/') and '\\' not in text.header and '?' not in text.header
    assert prove_c(small(), text, drawn()[:5]).proved


@pytest.mark.parametrize('name', ['../net', 'Net', '', 'main', 'a b', 'int*', 'ä', 'a'*40, '1net'])
def test_other_names_are_refused(name):
    with pytest.raises(CheckError, match='c: `name`: expected a to z'): to_c(small(), name)


@needs_gcc
@pytest.mark.parametrize('name', ['int', 'static', 'restrict', 'net_', 'x86'])
def test_a_name_may_be_a_word_of_c(name): assert prove_c(small(), to_c(small(), name), drawn()[:5]).proved


@needs_gcc
@pytest.mark.parametrize('leak', [(0,65536), (65535,65536)])
def test_leaks_of_nothing_and_of_all_beside_each_other(leak):
    "65536 is one more than 16 bits hold; one neuron keeps all, its neighbour nothing, and so do currents"
    net = small()
    l = replace(net.layers[0], leak=np.array(leak, np.int32), current_leak=np.array(leak[::-1], np.int32), clip=4000)
    net = replace(net, layers=(l,))
    proof = prove_c(net, to_c(net), drawn())
    assert proof.proved and 0<proof.fired<proof.spikes, proof


@pytest.mark.parametrize('kind', [np.int8, np.uint8, np.int64])
def test_numbers_of_numpy_are_numbers(kind):
    "Of one byte too, where 2 to the power of 8 guard bits would be 0, and the negative of 127 is 129"
    l = replace(small().layers[0], guard=8, clip=127, theta=np.array([40,60], np.int32), recurrent=np.array([1,-1], np.int8), gain=3)
    own = IntegerNetwork((l,), (3,), 5, 1., 0, 3)
    l = replace(l, guard=kind(8), clip=kind(127), gain=kind(3), quant_max=kind(4))
    net = IntegerNetwork((l,), (kind(3),), kind(5), np.float32(1), kind(0), kind(3))
    assert to_c(net)==to_c(own) and net.header==own.header
    for a,b in zip(net.record(drawn()), own.record(drawn())): assert (a.mem==b.mem).all() and (a.spk==b.spk).all()


def test_the_text_has_what_every_compiler_has_and_no_more():
    rng = np.random.default_rng(3)
    for _ in range(10):
        t = to_c(network(rng))
        assert set(re.findall(r'#include (\S+)', t.header+t.source))=={'<stdint.h>','<stddef.h>','"net.h"'}
        code = re.sub(r'/\*.*?\*/', '', t.header+t.source, flags=re.S)
        assert not re.search(r'\b(float|double|malloc|calloc|alloca)\b|\d\.\d', code)


@needs_gcc
def test_what_is_misused_is_refused_by_the_c_itself(tmp_path):
    "No codes yet, codes out of range, steps beyond the proof, an answer too early"
    l = replace(small().layers[0], leak=np.full(2, 65536, np.int32), reset='none')
    net = replace(small(), layers=(l,), decision='labels(1)')
    to_c(net).save(tmp_path)
    most = int(re.search(r'MOST_STEPS (\d+)', to_c(net).header)[1])
    net.prove(most)
    with pytest.raises(CheckError): net.prove(most+1)
    (tmp_path/'use.c').write_text('''#include <stddef.h>
#include <stdio.h>
#include "net.h"
int main(void) {
    net_state s;
    int32_t out[NET_ANSWERS];
    net_code x[3] = {1, 2, 3}, bad[3] = {1, 2, 4};
    net_start(&s);
    printf("%d %d %d ", net_step(&s, NULL), net_step(&s, bad), net_decide(&s, out));
    printf("%d %d ", net_step(&s, x), net_decide(&s, out));
    while (s.steps < 5) net_step(&s, NULL);
    printf("%d ", net_decide(&s, out));
    s.steps = NET_MOST_STEPS;
    printf("%d", net_step(&s, x));
    return 0;
}
''')
    run_tool([GCC, *WATCHED, tmp_path/'use.c', tmp_path/'net.c', '-o', tmp_path/'use'])
    assert run_tool([tmp_path/'use']).decode()=='0 0 0 1 0 1 0'


def test_a_compiler_that_is_missing_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(exported.shutil, 'which', lambda name: None)
    with pytest.raises(CheckError, match=r'export: gcc: expected this program \(apt-get install gcc\), found none'): prove_c(small(), to_c(small()), drawn())


@needs_gcc
def test_the_first_word_of_a_compiler_that_fails_is_passed_on():
    bad = replace(to_c(small()), source='int x = ;\n')
    with pytest.raises(CheckError, match='gcc: program: expected exit code 0, found 1: .*error'): prove_c(small(), bad, drawn())


def test_a_proof_lies_beside_its_files(tmp_path):
    text = to_c(small())
    text.save(tmp_path)
    said = write_proof(tmp_path, 'c', [*text.files])
    assert json.loads((tmp_path/'proof.json').read_text())==said and said['proved'] is False and said['why']=='not run (--no-proof)'
    assert {*said['files']}=={'net.h','net.c','main.c'}


@pytest.mark.skipif(not (shutil.which('powerpc-linux-gnu-gcc') and shutil.which('qemu-ppc')), reason='no qemu-ppc (apt-get install gcc-powerpc-linux-gnu libc6-dev-powerpc-cross qemu-user)')
def test_big_endian_and_32_bits(tmp_path):
    rng = np.random.default_rng(0)
    nets = [network(rng) for _ in range(5)]
    for k,net in enumerate(nets):
        to_c(net, f'n{k}').save(tmp_path)
        run_tool(['powerpc-linux-gnu-gcc', *CFLAGS, '-static', tmp_path/f'n{k}.c', tmp_path/'main.c', '-o', tmp_path/f'p{k}'])
        proof = compare_c(net, sample(rng, net, 20), {'qemu-ppc':lambda data: run_tool(['qemu-ppc', tmp_path/f'p{k}'], data)})
        assert proof.proved, proof


@pytest.mark.parametrize('compiler', ['gcc', 'powerpc-linux-gnu-gcc', 'arm-none-eabi-gcc'])
def test_many_networks_in_one_unit_give_no_warning(tmp_path, compiler):
    "At -O2 everything is inlined into everything, and a compiler loses sight of what a decision sets"
    if not shutil.which(compiler): pytest.skip(f'no {compiler}')
    rng = np.random.default_rng(0)
    nets = [n for n in (network(rng) for _ in range(40)) if n.decision.startswith(('sum', 'population', 'first', 'max'))][:12]
    parts = []
    for k,net in enumerate(nets):
        text = to_c(net, f'n{k}')
        text.save(tmp_path)
        parts.append(f'#include "n{k}.c"\n#define main main{k}\n{text.main}\n#undef main\n')
    calls = ' '.join(f'case {k}: return main{k}();' for k in range(len(nets)))
    (tmp_path/'all.c').write_text(''.join(parts)+f'int main(int c, char **v) {{ (void)v; switch (c) {{ {calls} }} return 2; }}\n')
    run_tool([compiler, *CFLAGS, '-c', tmp_path/'all.c', '-o', tmp_path/'all.o'])
