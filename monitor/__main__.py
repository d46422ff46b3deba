"""
The program's door; ``python -m monitor`` and the console script ``monitor`` both enter here.

Worker processes import this module again, so it imports nothing before it is called.
"""

import sys


def main() -> None:
    try:
        from monitor.cli import cli  # noqa: PLC0415  see above

        cli()
    except KeyboardInterrupt:  # while things are loaded; later commands see to it
        sys.exit(130)


if __name__ == "__main__":
    main()
