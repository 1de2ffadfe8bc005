"""The compiled extension. If it is missing, the error names the command that builds it."""

try:
    from Sim3DR import _native as native
except ImportError as error:
    raise ImportError("the compiled extensions are missing: run ./build.sh or pip install -e .") from error

__all__ = ["native"]
