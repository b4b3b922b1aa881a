"""``python -m audioctl``, which is how jobs run it."""

import sys

if __name__ == "__main__":
    if "--run-id" in sys.argv:
        from audioctl.early_signals import end_on_signals

        end_on_signals()

    from audioctl.cli import main

    main()
