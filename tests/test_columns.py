"Texts of a table: those of the list, with a part held out, and little of it in memory at a time; what is refused"
import gc
import json

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.cli import app
from quarantion.language.columns import column_of
from quarantion.language.merge import train_tokenizer
from quarantion.language.texts import held_out, read_texts


@pytest.fixture
def topics(): return read_texts()


@pytest.mark.parametrize('suffix', ['parquet','feather','arrow'])
def test_a_tokenizer_of_a_table_is_that_of_the_list(tmp_path, topics, suffix):
    t,path = pa.table(dict(n=range(len(topics)), text=topics)),tmp_path/f'a.{suffix}'
    pq.write_table(t, path, row_group_size=50) if suffix=='parquet' else feather.write_feather(t, path)
    col = column_of(path)
    assert [*col]==topics and train_tokenizer(col, 600).merges==train_tokenizer(topics, 600).merges
    assert [[*s] for s in col.sides(3)]==[*held_out(topics, 3)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.none()|st.text(st.characters(exclude_categories=['Cs']), max_size=9), min_size=1, max_size=40), st.integers(0, 9))
def test_sides_are_a_whole(texts, seed):
    import tempfile
    with tempfile.TemporaryDirectory() as tmp:
        pq.write_table(pa.table(dict(text=pa.array(texts, pa.string()))), f'{tmp}/a.parquet', row_group_size=3)
        known,held = column_of(tmp).sides(seed, .3)
        assert sorted([*known,*held])==sorted(t for t in texts if t) and not {*known}&{*held}


def test_what_is_held_at_a_time_is_some_groups_of_rows(tmp_path):
    words = [f'{i:07} '*128 for i in range(40_000)] # 41 MB
    pq.write_table(pa.table(dict(text=words)), tmp_path/'a.parquet', row_group_size=500)
    del words
    gc.collect()
    most,before = 0,pa.total_allocated_bytes()
    for _ in column_of(tmp_path): most = max(most, pa.total_allocated_bytes()-before)
    assert most<12e6 # some groups of half a megabyte, as reading runs ahead


def test_what_is_refused(tmp_path):
    pq.write_table(pa.table(dict(a=['x'], b=['y'], n=[1])), tmp_path/'a.parquet')
    (tmp_path/'torn.parquet').write_bytes((tmp_path/'a.parquet').read_bytes()[:-9])
    (tmp_path/'mixed').mkdir()
    for s in 'arrow','parquet': (tmp_path/f'mixed/a.{s}').write_bytes((tmp_path/'a.parquet').read_bytes())
    for name,column,said in ('a.parquet','',"column: expected one of strings, by its name, found ['a', 'b']"), ('a.parquet','n','expected n of strings'), \
                            ('torn.parquet','','contents: expected a table'), ('none.parquet','','found nothing at'), ('mixed','','files of one kind'):
        with pytest.raises(CheckError, match=said.replace('[', r'\[')): column_of(tmp_path/name, column)
    with pytest.raises(CheckError, match='a table that has it'): read_texts(column='a')
    known,_ = column_of(tmp_path/'a.parquet', 'a').sides()
    with pytest.raises(CheckError, match='a whole column'): known.sides()
    for share in 0, 1.1:
        with pytest.raises(CheckError, match='`share`'): column_of(tmp_path/'a.parquet', 'a').sides(share=share)


def test_a_folder_of_tables_says_what_it_leaves_out(tmp_path, topics):
    "At any depth, and whatever letters their names are in"
    (tmp_path/'data').mkdir()
    pq.write_table(pa.table(dict(text=topics)), tmp_path/'data/A.PARQUET')
    (tmp_path/'notes.txt').write_text('not in it')
    with pytest.warns(UserWarning, match='1 files left out that are no tables, such as notes.txt'): col = column_of(tmp_path)
    assert [*col]==topics
    with pytest.warns(UserWarning): assert read_texts(tmp_path)==topics


@pytest.mark.parametrize('begin,kind', [(b'PAR1','Parquet'), (b'\x1f\x8b\x08','gzip'), (b'%PDF-1.7','PDF')])
def test_what_begins_as_no_text_is_taken_with_a_warning(tmp_path, begin, kind):
    (tmp_path/'a').write_bytes(begin+b' and more')
    with pytest.warns(UserWarning, match=f'expected a text, found what begins as {kind}'): assert b''.join(read_texts(tmp_path/'a'))==begin+b' and more'


def test_a_column_beside_a_model_is_refused_before_anything_is_written(tmp_path, monkeypatch, topics):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table(dict(text=topics, other=topics)), 'a.parquet')
    with pytest.raises(CheckError, match='`--column`'): app(['text','--file','a.parquet','--column','other','--lm'], standalone_mode=False)
    assert [p.name for p in tmp_path.iterdir()]==['a.parquet']


def test_the_command_reads_a_table(tmp_path, monkeypatch, capsys, topics):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table(dict(said=topics, other=topics[::-1])), 'a.parquet')
    app(['text','--file','a.parquet','--column','said','--vocab','300','--json'], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    known,held = held_out(topics)
    assert (said['texts'],said['held_out'])==(len(known)+len(held),len(held)) and said['bytes']==sum(len(t.encode()) for t in topics)
