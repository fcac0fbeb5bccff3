"""One module per command, each with HELP, add_arguments(parser), run(arguments) -> facts, and print_summary(facts)."""
