"A question, what brought its passages, and names that are taken away: what is shown is what was found; what is refused"
import base64
import re

import numpy as np
import pytest

from quarantion.checks import CheckError
from quarantion.inspect import AskExplorer
from quarantion.inspect.ask_explorer import plot_moves, see_moves, short_name
from quarantion.memory import How, open_retriever
from quarantion.paper import BLUE, ORANGE, new_axes, png

widget = pytest.importorskip('ipywidgets').widgets.widget
pytest.importorskip('bm25s')
TEXTS = {'dict':'A mapping finds values by keys. Keys must be hashable, see :func:`digest`.', 'digest':'The number by which an object is found again; :func:`digest` never changes.',
         'listing':'A row of objects that grows, see :func:`digest`.', 'printing':'Write an object; the key word end comes last.'}
QUESTION = 'which keys does a mapping have'


@pytest.fixture(scope='module')
def r(tmp_path_factory):
    root = tmp_path_factory.mktemp('asked')
    (root/'texts').mkdir()
    for n,t in TEXTS.items(): (root/f'texts/{n}.rst').write_text(f'{n} <b>&\n=========\n\n.. function:: {n}(x)\n\n   {t}\n')
    for i in range(12): (root/f'texts/more{i}.rst').write_text(f'more {i}\n======\n\nNothing but padding of kind {i}, which nobody asks for, with words {i*7} and {i*11}.\n')
    return open_retriever(root/'texts', root/'kept')


def test_moves_are_those_of_two_answers(r):
    for how in How(),How(alpha=.2, mix=1.),How(without=('v:digest',)):
        m,k = see_moves(r, QUESTION, 4, how),4
        other = how._replace(without=()) if how.without else How(mix=0., vectors=0., sharp=1, depth=100)
        now,was = r.ask(QUESTION, k, how),r.ask(QUESTION, len(r), other).passages
        assert m.now==now and m.base==('with all names' if how.without else 'by words alone')
        place = {(p.title,p.file,*p.lines):n for n,p in enumerate(was, 1)}
        assert m.was==[place.get((p.title,p.file,*p.lines)) for p in now.passages]
        assert m.gone==[(n,t[0]) for t,n in place.items() if n<=k and t not in {(p.title,p.file,*p.lines) for p in now.passages}]


def test_the_picture_says_what_moved(r):
    m = see_moves(r, QUESTION, 4)
    ax = plot_moves(m, new_axes((7,3)))
    said = [t.get_text() for t in ax.texts]
    for p in m.now.passages: assert f'{p.share:.1%}' in said and p.title in said
    colours = {BLUE if p.ranks else ORANGE for p in m.now.passages}
    assert {l.get_color() for l in ax.lines}>=colours and 'rank by words alone' in ax.get_title('left')
    assert png(plot_moves(m, new_axes()).figure)==png(plot_moves(m, new_axes()).figure)
    none = see_moves(r, 'zzzz', 3)
    assert plot_moves(none, new_axes()).get_title('left')==none.now.why.said and not none.now.passages


def test_the_explorer_promises(r):
    before = set(widget._instances)
    w = AskExplorer(r, QUESTION)
    assert w.picture.startswith(b'\x89PNG') and not w.message.value and w.question.value==QUESTION
    assert base64.b64decode(w._repr_mimebundle_()['image/png'])==w.picture
    for k,v in dict(question='objects that grow', alpha=.3, mix=.9, k=2, dark=True).items():
        old = w.picture
        getattr(w, k).value = v
        assert w.picture!=old and not w.message.value, k
    w.vectors.value = 1.
    assert w.answer().now==r.ask('objects that grow', 2, How(alpha=.3, mix=.9, vectors=1.))
    assert w.hits.value.count('<td style="color')==2 and '<b>&' not in w.hits.value
    w.explain.value = True
    assert 'Asked “objects that grow”, alpha 0.30' in w.say() and w.say()[:9] in w.words.value
    assert re.search(r'<img [^>]*alt="[^"]{60,}"', w.to_html()) and not re.search(r'(src|href)="(?!data:)', w.to_html())
    old = w.picture,w.hits.value
    w.question.value = '  '
    assert 'expected words' in w.message.value and old==(w.picture,w.hits.value)
    w.question.value = 'zzzz'
    assert not w.message.value and 'none of the words' in w.hits.value and 'nothing' in w.say()
    w.close(); w.close()
    assert set(widget._instances)==before and repr(w).endswith('(closed)')
    with pytest.raises(CheckError, match='a closed one'): w.remove('v:digest')


def test_a_click_takes_a_name_away_and_puts_it_back(r):
    w = AskExplorer(r, QUESTION)
    whole,shown = w.answer(),[c for c in w._chips if c.layout.display!='none']
    names = [n for n,_ in whole.now.why.names]
    assert len(shown)==min(12, len(names)) and [c.description.rsplit(' ', 1)[0] for c in shown]==[short_name(n) for n in names[:12]]
    at = names.index('v:digest')
    shown[at].click()
    assert w.without==('v:digest',) and not w.message.value
    assert w._chips[0].description=='+ digest' and 'Put back digest' in w._chips[0].tooltip and 'without digest' in w.say()
    direct = r.ask(QUESTION, 10, How(without=('v:digest',)))
    assert w.answer().now==direct and w.answer().base=='with all names'
    assert not any(n=='v:digest' for n,_ in w.answer().now.why.names)
    w._chips[0].click()
    assert w.without==() and w.answer().now==whole.now
    w.remove('v:digest'); w.remove('v:digest')
    assert w.without==('v:digest',)
    w.restore()
    assert w.answer().now==whole.now
    with pytest.raises(CheckError, match='one of'): w.remove('v:nobody')
    w.close()


def test_everything_can_be_taken_away(r):
    w = AskExplorer(r, QUESTION)
    for n in r.linked.graph.node_names: w.without = (*w.without,f'v:{n}')
    w.draw()
    assert not w.message.value and all(c.description[:2]=='+ ' for c in w._chips)
    w.close()


@pytest.mark.parametrize('given,why', [((3,),'`retriever`'), ((None,),'`retriever`')])
def test_sources_refused(given, why):
    with pytest.raises(CheckError, match=why): AskExplorer(*given)


def test_settings_refused(r):
    with pytest.raises(CheckError, match='`how`'): AskExplorer(r, 'a', 3)
    with pytest.raises(CheckError, match='a tuple of names'): AskExplorer(r, 'a', How(without='v:digest'))
    with pytest.raises(CheckError, match='`moved`'): plot_moves(3)
    with pytest.raises(CheckError, match='`k`'): see_moves(r, 'a', 0)
    with pytest.raises(CheckError, match='`fig`'): AskExplorer(r, 'mapping').paint(np.zeros(3))
