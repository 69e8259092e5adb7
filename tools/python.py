"Say in one line what this Python lacks to install quarantion."
import os
import sys
import sysconfig

if sys.version_info < (3, 11):
    sys.exit(f'quarantion needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]} '
             '(choose another: make PYTHON=python3.12)')
try: import ensurepip, venv # noqa: E401,F401
except ImportError: sys.exit(f'{sys.executable} cannot make a virtual environment; on Debian: apt install python3-venv')
if not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')):
    print('No Python.h: the kernels cannot be compiled and will run as Python, 50 times slower; '
          'on Debian: apt install python3-dev', file=sys.stderr)
