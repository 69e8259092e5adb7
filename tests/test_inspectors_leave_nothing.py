"What both inspectors promise: a picture, words, a page, and nothing left when they are closed"
import base64
import gc
import weakref

import pytest

from quarantion.inspect.membrane_inspector import MembraneInspector

from inspected import observer, records

widget = pytest.importorskip('ipywidgets').widgets.widget


@pytest.mark.parametrize('make', [lambda: MembraneInspector(records(0, 50, 20), other=records(1, 50, 20)), observer])
def test_promises(make):
    before = set(widget._instances)
    w = make()
    assert w.picture.startswith(b'\x89PNG') and w.message.value==''
    assert base64.b64decode(w._repr_mimebundle_()['image/png']).startswith(b'\x89PNG')
    old = w.picture
    w.dark.value = True
    assert w.picture!=old
    w.explain.value = True
    assert len(w.say())>60 and w.words.value
    assert 'alt="' in w.to_html() and '<html lang="en">' in w.to_html()
    kept = weakref.ref(w)
    w.close(); w.close()
    assert set(widget._instances)==before and repr(w).endswith('(closed)') and list(w._repr_mimebundle_())==['text/plain']
    del w; gc.collect()
    assert kept() is None
