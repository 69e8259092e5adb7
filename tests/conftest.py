"What many tests begin with"
import pytest


@pytest.fixture
def here(capsys):
    "Run `quarantion` in this process; returns exit code, stdout and stderr"
    from quarantion.cli import main
    def run(*args):
        capsys.readouterr()
        with pytest.raises(SystemExit) as e: main([str(a) for a in args])
        return (e.value.code, *capsys.readouterr())
    return run
