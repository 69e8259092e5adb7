"A child of this process that does something and dies where it is told to"
import os, signal, sys
from pathlib import Path


def fork(do, prepare=lambda: None):
    "`prepare` and then `do`, silent, in a fork: what `do` returns or exits with, 99 after any other error, or minus the signal"
    pid = os.fork()
    if pid==0:
        code = 99
        try:
            prepare()
            sys.stdout = sys.stderr = open(os.devnull, 'w')
            code = do() or 0
        except SystemExit as e: code = e.code or 0
        finally: os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dies(name, n, how):
    "Die at the n-th fsync of a file: before it, after it (the new file is not in its place yet), or with a line torn; or at the n-th rename to it, when it is done"
    def prepare():
        real,count = getattr(os, 'replace' if how=='done' else 'fsync'),[0]
        def act(x, *more):
            at = Path(more[0]).name if how=='done' else Path(os.readlink(f'/proc/self/fd/{x}')).name
            count[0] += name in at
            if count[0]<n or name not in at: return real(x, *more)
            if how=='torn': os.ftruncate(x, os.fstat(x).st_size-7)
            if how in ('after','done'): real(x, *more)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(os, real.__name__, act)
    return prepare
