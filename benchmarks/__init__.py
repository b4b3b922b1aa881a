import os

from audioctl.environment import limit_linear_algebra

limit_linear_algebra(os.environ)  # as process-tar does
