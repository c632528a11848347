"""`python -m zeroth` and the command `zeroth` of the wheel: the program itself in this process's place."""
import os
import sys

from zeroth import program


def main():
    path = program()
    os.execv(path, ["zeroth", *sys.argv[1:]])


if __name__ == "__main__":
    main()
