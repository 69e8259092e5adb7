"What many tests begin with"
import pytest

LONG = ('resume', 'compile', 'executorch', 'many', 'shards', 'memory_of_readers', 'text_runs', 'ask_corners', 'tune', 'cli', 'runs',
        'cortex_m', 'every_public_function', 'complete_programs', 'what_can_be_read',
        'jupyterlab', 'site_in_browser') # Files that take long


def pytest_collection_modifyitems(items):
    "They begin first, so that in the end no core waits for one of them"
    items.sort(key=lambda i: i.path.stem.removeprefix('test_') not in LONG)


@pytest.fixture(autouse=True, scope='session')
def no_key_of_the_user(tmp_path_factory):
    "What is signed here is signed by a key of its own"
    with pytest.MonkeyPatch.context() as m:
        m.setenv('XDG_CONFIG_HOME', str(tmp_path_factory.mktemp('config')))
        yield


@pytest.fixture
def here(capsys):
    "Run `quarantion` in this process; returns exit code, stdout and stderr"
    from quarantion.cli import main
    def run(*args):
        capsys.readouterr()
        with pytest.raises(SystemExit) as e: main([str(a) for a in args])
        return (e.value.code, *capsys.readouterr())
    return run
