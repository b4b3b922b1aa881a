"""``audioctl`` and ``python -m audioctl``, which is how jobs run it: what has to happen before all else is imported."""

import signal
import sys


def main() -> None:
    if "--run-id" in sys.argv:
        from audioctl.early_signals import end_on_signals

        end_on_signals()
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:  # a shell may have it ignored
        # Imports may take seconds from a busy disk: Ctrl-C ends them without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from audioctl.cli import main as run

    signal.signal(signal.SIGINT, heard)
    run()


if __name__ == "__main__":
    main()
