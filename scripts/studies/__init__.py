"""One-off studies, each with add_arguments(parser) and run(arguments); run as python -m scripts.study NAME."""
