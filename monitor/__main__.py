"""
The program's entry point, for ``python -m monitor`` and the console script ``monitor``.

Worker processes import this module again, so it imports nothing until it is called.
"""

import sys


def main() -> None:
    try:
        if sys.argv[1:2] == ["run"]:
            from monitor.allocator import start_again  # noqa: PLC0415  see above

            start_again()
        from monitor.cli import cli  # noqa: PLC0415  see above

        cli()
    except KeyboardInterrupt:  # while modules are loading; later, commands handle it
        sys.exit(130)


if __name__ == "__main__":
    main()
