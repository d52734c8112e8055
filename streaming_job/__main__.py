"""Lets `python -m streaming_job` run the command line."""

from streaming_job.cli import app

if __name__ == "__main__":
    app(prog_name="python -m streaming_job")
