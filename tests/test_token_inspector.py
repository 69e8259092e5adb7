"Two tokenizers of a sentence, as one types it: what is said is what they do, what is drawn is what is said; what is refused"
import base64
import re

import pytest

from quarantion.checks import CheckError
from quarantion.inspect import TokenInspector
from quarantion.language import Tokenizer, train_tokenizer

widget = pytest.importorskip('ipywidgets').widgets.widget
TEXTS = ['the tide is high at noon, and the lamp is high above the tide at night', 'naïve 東京 aaaa aaa aa abab baba']


@pytest.fixture(scope='module')
def named(): return {'NPMI':train_tokenizer(TEXTS, 320, alpha=1), 'counts':train_tokenizer(TEXTS, 300)}


def test_every_control_moves_picture_and_words(named):
    before = set(widget._instances)
    w = TokenInspector(named, 'the tide')
    assert w.picture.startswith(b'\x89PNG') and not w.message.value
    assert base64.b64decode(w._repr_mimebundle_()['image/png'])==w.picture
    for k,v in dict(text='the high tide', above='counts', vocab=256, below='NPMI', dark=True).items():
        old,said = w.picture,w.say()
        getattr(w, k).value = v
        assert not w.message.value and (w.say()==said)==(k=='dark') and (w.picture!=old or k=='below'), k
    assert re.search(r'<img [^>]*alt="[^"]{60,}"', w.to_html())
    w.close()
    assert set(widget._instances)==before


def test_it_says_what_the_tokenizers_do(named):
    text = 'the naïve 東京 tide'
    w = TokenInspector(named, text)
    for v in 256, w.vocab.options[6][1], w.vocab.options[-1][1]:
        w.vocab.value = v
        ends = []
        for name,t in named.items():
            part = t.part(min(v, len(t)))
            ids = part.encode(text)
            cut = [part.vocab[i] for i in ids]
            ends.append({len(b''.join(cut[:k+1])) for k in range(len(cut))})
            assert f'{name}, {len(part)} tokens known, takes {len(ids)}: {"|".join(c.decode("utf-8", "replace") for c in cut)}.' in w.say()
        a,b = ends
        assert f'at {len(a&b)} places by both, at {len(a-b)} by NPMI alone, {len(b-a)} by counts alone' in w.say()
    w.close()


@pytest.mark.parametrize('text', ['', 'a'*225, '\ud800'])
def test_what_cannot_be_cut_is_said_in_the_widget(named, text):
    w = TokenInspector(named, 'a')
    old = w.picture
    w.text.value = text
    assert 'CheckError' in w.message.value and w.picture==old
    w.text.value = '<b> $x^2$ \t\U0001f600'
    assert not w.message.value and w.picture!=old and '<b> ' not in w.image.value
    w.close()


@pytest.mark.parametrize('given', [{}, {'a':3}, {1:Tokenizer}, [1], 'x', None])
def test_what_is_no_tokenizer_is_refused(given):
    with pytest.raises(CheckError, match='`tokenizers`'): TokenInspector(given)
