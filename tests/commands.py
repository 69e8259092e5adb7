"What a refusal of a command has to be"


def refused(answer, *words):
    "One line, exit code 2, nothing on stdout"
    code,out,err = answer
    assert (code,out)==(2,''), answer
    assert err.startswith('quarantion: ') and err.count('\n')==1 and err.endswith('\n'), err
    for w in words: assert w in err, err
