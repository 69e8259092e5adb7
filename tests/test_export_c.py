"""Random networks of every kind leave as C: compiled with every warning an error, with sanitizers that watch, run beside the program,
and compared in every spike, membrane and decision. 20 networks here, 200 under soak, many in one translation unit"""
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import kinds, network, sample

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.export import proof as exported
from quarantion.export.c import CFLAGS, compare_c, prove_c, to_c
from quarantion.export.proof import run_tool, write_proof
from quarantion.runtime.layer import IntLayer
from quarantion.runtime.network import IntegerNetwork, load

GCC,HERE = shutil.which('gcc'),Path(__file__).parent
needs_gcc = pytest.mark.skipif(GCC is None, reason='no gcc (apt-get install gcc)')
WATCHED = (*CFLAGS[:-1], '-O1', '-fsanitize=undefined,address', '-fno-sanitize-recover=all')


def many(folder, nets, flags):
    "Networks in one translation unit, and what runs the k-th of them"
    parts = []
    for k,net in enumerate(nets):
        text = to_c(net, f'n{k}')
        text.save(folder)
        parts.append(f'#include "n{k}.c"\n#define main main{k}\n{text.main}\n#undef main\n')
    calls = '\n'.join(f'    if (k == {k}) return main{k}();' for k in range(len(nets)))
    (folder/'all.c').write_text(''.join(parts)+f'#include <stdlib.h>\nint main(int c, char **v) {{\n    int k = c > 1 ? atoi(v[1]) : -1;\n{calls}\n    return 2;\n}}\n')
    run_tool([GCC, *flags, folder/'all.c', '-o', folder/'all'])
    return [lambda data,k=k: run_tool([folder/'all', k], data) for k in range(len(nets))]


def prove_many(folder, nets, rng, n, flags=WATCHED):
    fired = 0
    for k,(net,run) in enumerate(zip(nets, many(folder, nets, flags))):
        proof = compare_c(net, sample(rng, net, n), dict(gcc=run))
        assert proof.proved, (k, net, proof)
        fired += 0<proof.fired<proof.spikes
    return fired


@needs_gcc
def test_random_networks_through_c(tmp_path):
    rng = np.random.default_rng(0)
    nets = [network(rng) for _ in range(20)]
    assert len({*kinds(nets)})>=30, sorted({*kinds(nets)})
    assert prove_many(tmp_path, nets, rng, 20)>=14


@needs_gcc
@pytest.mark.soak
@pytest.mark.parametrize('group', range(10))
def test_more_random_networks_through_c(tmp_path, group):
    rng = np.random.default_rng(100+group)
    assert prove_many(tmp_path, [network(rng) for _ in range(20)], rng, 100)>=12


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


NEEDS = {'arm-none-eabi-gcc':'gcc-arm-none-eabi libnewlib-arm-none-eabi', 'qemu-system-arm':'qemu-system-arm', 'powerpc-linux-gnu-gcc':'gcc-powerpc-linux-gnu', 'qemu-ppc':'qemu-user'}


def needs(*names):
    missing = [n for n in names if shutil.which(n) is None]
    return pytest.mark.skipif(bool(missing), reason=', '.join(f'no {n} (apt-get install {NEEDS[n]})' for n in missing))


@needs('powerpc-linux-gnu-gcc', 'qemu-ppc')
def test_big_endian_and_32_bits(tmp_path):
    rng = np.random.default_rng(0)
    nets = [network(rng) for _ in range(5)]
    for k,net in enumerate(nets):
        to_c(net, f'n{k}').save(tmp_path)
        run_tool(['powerpc-linux-gnu-gcc', *CFLAGS, '-static', tmp_path/f'n{k}.c', tmp_path/'main.c', '-o', tmp_path/f'p{k}'])
        proof = compare_c(net, sample(rng, net, 20), {'qemu-ppc':lambda data: run_tool(['qemu-ppc', tmp_path/f'p{k}'], data)})
        assert proof.proved, proof


def on_board(folder, text, cpu, machine):
    "Built for a processor without an operating system; what runs it in an emulator"
    text.save(folder)
    how = f'-Os -mcpu={cpu} -mthumb --specs=rdimon.specs -nostartfiles -T'.split()
    run_tool(['arm-none-eabi-gcc', *CFLAGS[:-1], '-Os', f'-mcpu={cpu}', '-mthumb', '-c', folder/'net.c', '-o', folder/'net.o'])
    run_tool(['arm-none-eabi-gcc', *how, HERE/'cortex_m.ld', HERE/'cortex_m.c', folder/'net.o', folder/'main.c', '-o', folder/'net.elf'])
    emulator = ['qemu-system-arm', '-M', machine, *'-display none -monitor none -serial none -semihosting-config enable=on,target=native -kernel net.elf'.split()]
    def run(data):
        (folder/'input.bin').write_bytes(data)
        p = subprocess.run(emulator, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        assert p.returncode==0, (p.returncode, p.stderr)
        return p.stdout or p.stderr
    return run


def measured(): return load(HERE.parent/'nbs/measured/digits.safetensors')


@needs('arm-none-eabi-gcc', 'qemu-system-arm')
@pytest.mark.parametrize('cpu,machine', [('cortex-m3','mps2-an385'), ('cortex-m4','mps2-an386'), ('cortex-m7','mps2-an500'), ('cortex-m0plus','microbit')])
def test_bare_metal(tmp_path, cpu, machine):
    "Digits on the processor of a small board: 100 samples, every spike and membrane; and a threshold that is one too large is found"
    net,x = measured(),load_digits().x_test.numpy()[:100]
    proof = compare_c(net, x, {machine:on_board(tmp_path, to_c(net), cpu, machine)}, 'cortex-m')
    assert proof.proved and proof.samples==100 and proof.spikes==100*25*138
    fires = int(net.record(x)[0].spk.sum((0,1)).argmax())
    l = net.layers[0]
    wrong = replace(net, layers=(replace(l, theta=l.theta+np.eye(len(l.theta), dtype=np.int32)[fires]), *net.layers[1:]))
    proof = compare_c(net, x[:20], {machine:on_board(tmp_path, to_c(wrong), cpu, machine)}, 'cortex-m')
    assert not proof.proved and (proof.first['layer'],proof.first['neuron'])==(0,fires)


@needs('arm-none-eabi-gcc', 'qemu-system-arm')
def test_flash_and_ram_of_digits(tmp_path):
    "`net.o` with its weights at -Os: 64-128-10 in nonary takes at most 8 kB of flash and 1.5 kB of RAM"
    to_c(measured()).save(tmp_path)
    (tmp_path/'size.c').write_text('#include "net.h"\nchar state[sizeof(net_state)];\n')
    def sizes(f): # text, data, bss
        run_tool(['arm-none-eabi-gcc', '-std=c99', '-Os', '-mcpu=cortex-m0plus', '-mthumb', '-fstack-usage', '-c', tmp_path/f'{f}.c', '-o', tmp_path/f'{f}.o'])
        return [int(w) for w in run_tool(['arm-none-eabi-size', tmp_path/f'{f}.o']).decode().splitlines()[1].split()[:3]]
    text,data,bss = sizes('net')
    assert text+data<=8000 and bss==0 and sizes('size')[2]<=1500, (text, data, sizes('size'))
    stack = [int(line.split('\t')[1]) for line in (tmp_path/'net.su').read_text().splitlines()]
    assert sum(stack)<=200, stack # all functions inside each other, which they are not
