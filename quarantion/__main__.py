"`python -m quarantion`, as `torchrun -m quarantion` needs it, is the `quarantion` command"
from .cli import main

if __name__=='__main__': main()
